"""python -m tests.campaign: every figure, as one table."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import warnings
from dataclasses import replace

from tests.campaign.figures import LONG, Effort, Figure, table

NAMES = (
    "crashes",
    "kills",
    "disk_faults",
    "damage",
    "images",
    "hostile",
    "same_result",
    "planted_bugs",
    "properties",
    "pairs",
)


def main() -> None:
    """Run campaigns and print their table; exit status 1 if a promise did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="as much as the ordinary tests do")
    parser.add_argument("--states", type=int, help="states after power cuts, in all")
    for name in ("mutations", "images", "kills", "examples", "seed"):
        parser.add_argument(f"--{name}", type=int)
    options = parser.parse_args()
    if unknown := set(options.campaigns) - set(NAMES):
        parser.error(f"CAMPAIGN is one of {', '.join(NAMES)}. Received: {', '.join(unknown)}")
    effort = Effort() if options.quick else LONG
    given = vars(options) | {"all_states": options.states}
    fields = ("all_states", "mutations", "images", "kills", "examples", "seed")
    effort = replace(effort, **{f: given[f] for f in fields if given[f] is not None})
    warnings.simplefilter("ignore")  # damaged pictures make their decoders talk
    start = time.perf_counter()
    figures = list(_measured(options.campaigns or NAMES, effort))
    print(table(figures))
    print(f"{time.perf_counter() - start:.0f} s in all, on one core")
    sys.exit(any(figure.failures for figure in figures))


def _measured(names: tuple[str, ...] | list[str], effort: Effort) -> list[Figure]:
    """Run campaigns one after the other, saying on stderr how far it is."""
    figures: list[Figure] = []
    for name in names:
        start = time.perf_counter()
        campaign = importlib.import_module(f"tests.campaign.{name}")
        for figure in campaign.measure(effort):
            print(f"{time.perf_counter() - start:7.0f} s  {figure}", file=sys.stderr, flush=True)
            figures.append(figure)
    return figures


if __name__ == "__main__":
    main()
