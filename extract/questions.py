"""Two questions before a run, asked in the words of `extract.run`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from extract import estimating, explaining
from extract.api import run, settings_of
from extract.plan import Settings
from extract.progress import Reporter


def estimate(
    images: str | Path | Iterable[Any],
    store: str | Path | None = None,
    *,
    root: str | Path | None = None,
    reporter: Reporter | None = None,
    **options: Any,
) -> estimating.Estimate:
    """Say what `extract.run` with these arguments would do and cost; nothing is touched.

    Args:
        images: As for `run`; likewise the others.
        store: Where features would go.
        root: For a table, the folder of its paths.
        reporter: Hears of what takes long.
        **options: Those of `run`, such as `backbone` and `image_size`.

    Raises:
        HeadstartError: For what `run` would refuse.
    """
    return estimating.estimate(images, store, _settings(options), reporter, root)


def explain(
    store: str | Path,
    images: str | Path | None = None,
    *,
    reporter: Reporter | None = None,
    **options: Any,
) -> explaining.Explanation:
    """Compare a store's recipe with that of a run, and say what the run would cost.

    Args:
        store: The store's folder.
        images: Where the images are now; where they were last, by default.
        reporter: Hears of what takes long.
        **options: Those of `run`, such as `backbone` and `image_size`.

    Raises:
        StoreError: If there is no store.
        BackboneError: If the backbone or its weights cannot be had.
    """
    return explaining.explain(store, _settings(options), images, reporter=reporter)


def _settings(options: Mapping[str, Any]) -> Settings:
    """Fill options up with the defaults of `run`."""
    wanted = inspect.signature(settings_of).parameters.keys()
    defaults = {n: p.default for n, p in inspect.signature(run).parameters.items() if n in wanted}
    if unknown := sorted(options.keys() - wanted):
        raise TypeError(f"{unknown[0]!r} is no option of run. Options: {', '.join(defaults)}")
    return settings_of(**{**defaults, "arguments": {}, **options})
