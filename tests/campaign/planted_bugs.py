"""Bugs that are planted on purpose, one at a time: the campaign must catch every one.

A check that cannot fail is worth nothing. Each bug names the check that must fail with it; without
a bug, that check must find nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from extract.errors import HeadstartError
from tests.campaign import bugs, crashes, damage, rows
from tests.campaign.figures import Effort, Figure
from tests.campaign.scenarios import Scenario, scenarios
from tests.campaign.world import numbered_scratch_names, scratch

QUICK = Effort(states=12, second_cuts=0, first_failure=True)
TWICE = replace(QUICK, states=1, cut_again_every=1, second_cuts=2)
FOLDERS_MADE = 24  # changes in which a new store gets its folders
MUTATIONS = 14  # of each kind of file: every mutation twice


@dataclass(frozen=True)
class Checks:
    """The checks of the campaign, each on little."""

    commands: dict[str, Scenario]
    folder: Path

    def power_cuts(self, command: str = "extract") -> list[str]:
        cuts = crashes.Cuts(self.commands[command], self.folder / "store", QUICK)
        cuts.everywhere()
        return cuts.failures

    def kills_and_power_cuts(self) -> list[str]:
        cuts = crashes.Cuts(self.commands["extract"], self.folder / "store", TWICE, kill_every=1)
        all(cuts.at(moment) for moment in range(FOLDERS_MADE))
        return cuts.failures

    def damage(self) -> list[str]:
        place = self.folder / "damage"
        place.mkdir(exist_ok=True)
        victim = damage.stores(place)[0]
        for kind in ("shard", "commit", "snapshot"):
            part = replace(victim, kinds={kind: damage.KINDS[kind]})
            if found := damage.damage_store(part, place, MUTATIONS, 0).failures:
                return found
        return []

    def strangers(self) -> list[str]:
        return rows.strangers_are_not_adopted(self.folder, self.commands["extract"].truth)

    def rows(self) -> list[str]:
        return rows.rows_are_their_images(self.folder)

    def labels(self) -> list[str]:
        return rows.other_labels_are_other_items(self.folder)

    def selection(self) -> list[str]:
        return rows.heads_never_see_test_rows(self.folder)

    def statistics(self) -> list[str]:
        return rows.statistics_stay(self.folder)


@dataclass(frozen=True)
class Bug:
    """A bug, the check that must fail with it, and what that check must say."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], None]
    check: str
    tells: str
    """Part of what the check finds: any other failure does not count."""
    words: tuple[str, ...] = ()

    def found_by(self, checks: Checks) -> list[str]:
        """Return what the check says."""
        return getattr(checks, self.check)(*self.words)


TORN = "is not a record: it is empty, torn or foreign"
MISSING = r"\.zshard is missing"
WRONG = r"has \[[ \d.]+\], expected \["
"""Rows of `rows_are_their_images` that are numbers, and others."""
READ, NOBODY = "something wrong was read", "nobody noticed"

BUGS = [
    Bug("no fsync of a file's bytes", bugs.without_fsync, "power_cuts", TORN),
    Bug("fsync after the link", bugs.fsync_after_link, "power_cuts", TORN),
    Bug("no fsync of the folder", bugs.without_folder_fsync, "power_cuts", MISSING),
    Bug("no fsync of a new folder's name", bugs.new_folders_not_synced, "power_cuts", MISSING),
    Bug(
        "a folder that is there is durable",
        bugs.folders_found_are_trusted,
        "kills_and_power_cuts",
        r"commits/\w+\.json is missing",
    ),
    Bug("the record before its shard", bugs.record_before_shard, "power_cuts", MISSING),
    Bug(
        "gc removes shards before records",
        bugs.gc_removes_shards_first,
        "power_cuts",
        rf"snapshot \d does not open: .*{MISSING}",
        ("gc --compact",),
    ),
    Bug("a scratch file is adopted", bugs.adopts_a_scratch_file, "strangers", TORN),
    Bug("an existing name is trusted", bugs.trusts_an_existing_name, "strangers", "has 64 bytes"),
    Bug("what is missing reads as zero", bugs.missing_reads_as_zero, "damage", READ),
    Bug("a shard's digest is not checked", bugs.digest_not_checked, "damage", READ),
    Bug(
        "a record's self-check is not checked",
        bugs.self_check_not_checked,
        "damage",
        NOBODY,
    ),
    Bug("rows of bad images are used", bugs.bad_rows_used, "rows", "or NaN among them"),
    Bug("rows are off by one", bugs.off_by_one, "rows", WRONG),
    Bug("pixels are divided by 255", bugs.wrong_scaling, "rows", WRONG),
    Bug("pixels are moved by the resize", bugs.resize_on_corners, "rows", WRONG),
    Bug(
        "labels are not in the items digest",
        bugs.labels_not_in_the_digest,
        "labels",
        "another label has the same items digest",
    ),
    Bug(
        "test rows choose the head",
        bugs.test_rows_in_selection,
        "selection",
        "other test pictures gave another head",
    ),
    Bug(
        "BatchNormalization's statistics move",
        bugs.statistics_move,
        "statistics",
        r"have changed, such as batch_normalization\w*/moving_",
    ),
]


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield one figure: how many bugs were planted, and which was not caught."""
    with scenarios() as commands, numbered_scratch_names(), scratch() as folder:
        checks = Checks({s.name: s for s in commands}, folder)
        figure = Figure(point=8, what="planted bugs, each told by the check named for it")
        for bug in {(b.check, b.words): b for b in BUGS}.values():
            said = bug.found_by(checks)
            figure.check(not said, f"{bug.check} fails without any bug: {said[:2]}")
        for bug in BUGS:
            figure.tried += 1
            wrong = not_caught(bug, checks)
            figure.check(not wrong, f"{bug.name}: {wrong}")
        figure.note = f"by {len({(b.check, b.words) for b in BUGS})} checks, sound without a bug"
        yield figure


def not_caught(bug: Bug, checks: Checks) -> str:
    """Plant a bug; return what happened instead of its check telling it, or nothing.

    A bug that ends the check with an error which no part of the project raises on purpose only
    broke something: nothing was checked then.
    """
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        try:
            said = bug.found_by(checks)
        except (HeadstartError, AssertionError) as error:  # refused, and it says what is wrong
            said = [str(error)]
        except Exception as error:
            return f"broke {bug.check}: {type(error).__name__}: {error}"
    if not said:
        return f"{bug.check} finds nothing"
    if not any(re.search(bug.tells, text) for text in said):
        return f"{bug.check} finds something else: {said[:2]}"
    return ""
