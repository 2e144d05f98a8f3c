"""A disk that is full or fails, at every operation: once, and from then on.

Every command line is typed on a disk that refuses its n-th operation with ENOSPC (changes) or EIO
(reading as well). It must end with status 1 and one line that names the file and the cause, or
not have needed the operation: then it must have done all that it does. Nothing acknowledged may be
lost. Then it is typed on a disk that refuses another operation, and at last on a sound one, where
it must end with the truth.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import signal
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path

import pytest
import typer

from extract.cli import main
from extract.errors import HeadstartError
from tests.campaign.crashes import acknowledging
from tests.campaign.disk import Disk, Fault, found_in, put_back, watching
from tests.campaign.figures import Effort, Figure
from tests.campaign.scenarios import NAMES, Acknowledged, Scenario, scenarios
from tests.campaign.world import (
    numbered_scratch_names,
    scratch,
)

KINDS = tuple(product((errno.ENOSPC, errno.EIO), (False, True)))
SMALL_DISKS = 6
"""So many file systems, in equal steps up to what a store takes."""
PAGE = os.sysconf("SC_PAGE_SIZE") >> 10  # KiB
FULL = os.strerror(errno.ENOSPC)


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield a figure for each command, and one for small real disks."""
    yield from refuse(effort)
    with scenarios(["extract"]) as [command], numbered_scratch_names(), scratch() as folder:
        yield small_disks(command, folder / "disk")


def refuse(effort: Effort, names: Sequence[str] = NAMES) -> Iterator[Figure]:
    """Yield a figure for each command that is named."""
    with scenarios(names) as commands, numbered_scratch_names(), scratch() as folder:
        for scenario in commands:
            yield refuse_everywhere(scenario, folder / "store", effort)


def refuse_everywhere(scenario: Scenario, store: Path, effort: Effort) -> Figure:
    """Refuse every operation of one command, in one way each or in all four."""
    figure = Figure(point=3, what=f"{scenario.name}: operations refused, status 1 and one line")
    draw = random.Random(effort.seed)
    again = 0
    for index, (code, for_good) in enumerate(KINDS):
        start, step = (0, 1) if effort.every_fault else (index, len(KINDS))
        step *= 1 + (bool(scenario.damaged) and not effort.every_fault)  # a repair reads a lot
        at = start
        while _refused(scenario, store, Fault(at, code, for_good), figure):
            at += step
            if figure.tried % effort.cut_again_every == 0:
                code_again, for_good_again = draw.choice(KINDS)
                disk = Disk(
                    found_in(store), fault=Fault(draw.randrange(60), code_again, for_good_again)
                )
                _typed(scenario, store, disk, Acknowledged(), figure)
                again += disk.refused > 0
            figure.failures += _ends_well(scenario, store)
    figure.note = f"{again} again on the second try"
    return figure


def _refused(scenario: Scenario, store: Path, fault: Fault, figure: Figure) -> bool:
    """Type a command on a disk with a fault; return whether the command met it."""
    disk, acknowledged = Disk(scenario.begin, fault=fault), Acknowledged()
    _typed(scenario, store, disk, acknowledged, figure)
    if not disk.refused:
        return False
    figure.tried += 1
    figure.failures += scenario.crashed(store, acknowledged)
    return True


def _typed(
    scenario: Scenario, store: Path, disk: Disk, acknowledged: Acknowledged, figure: Figure
) -> None:
    """Type a command line on a disk with a fault, and look at how it ends."""
    assert disk.fault is not None
    put_back(store, disk.here())
    where = f"{scenario.name}, {disk.fault}"
    try:
        with watching(disk), acknowledging(acknowledged):
            status, lines = command_line(scenario.typed(store))
    except Exception as error:
        figure.failures.append(f"{where}: a traceback: {type(error).__name__}: {error}")
        return
    if status == 0:
        figure.failures += [f"{where}: done, it says, but {x}" for x in scenario.finished(store)]
        return
    cause = os.strerror(disk.fault.code)
    told = [x for x in lines if cause in x and (str(store) in x or "shards/" in x)]
    told += [x for x in lines if scenario.already and scenario.already in x]
    figure.check(status == 1 and bool(told), f"{where}: status {status}, {lines[-1:]}")


_command = cache(typer.main.get_command)
"""Options are the same each time, and take longer to set up than most commands to run."""


def command_line(words: list[str]) -> tuple[object, list[str]]:
    """Run `python -m extract WORDS` in this process; return its exit status and its lines."""
    said, status = io.StringIO(), None
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(said),
    ):
        patch.setattr("sys.argv", ["extract", *words])
        patch.setattr("typer.main.get_command", _command)
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        finally:
            signal.signal(signal.SIGTERM, before)
    return status, said.getvalue().splitlines()


def _ends_well(scenario: Scenario, store: Path) -> list[str]:
    try:
        scenario.again(store)
        return scenario.finished(store)
    except (HeadstartError, AssertionError) as error:
        return [f"{scenario.name} does not go on: {error}"]


def small_disks(scenario: Scenario, place: Path) -> Figure:
    """Extract onto real file systems that are too small, each full at another moment."""
    figure = Figure(point=3, what="real file systems in memory that become full, at moments")
    moments = set()
    pages = _pages_needed(scenario, place)
    for part in range(1, SMALL_DISKS + 1):
        with _mounted(place, PAGE * (pages * part // (SMALL_DISKS + 1))) as mounted:
            if not mounted:
                figure.note = "this machine lets nobody mount one"
                return figure
            figure.tried += 1
            status, lines = command_line(scenario.typed(place / "store"))
            told = any(FULL in line and str(place) in line for line in lines)
            figure.check(status == 1 and told, f"{part}: status {status}, {lines[-1:]}")
            moments.add(frozenset(n for n in found_in(place / "store") if not n.startswith("tmp/")))
            figure.failures += scenario.crashed(place / "store", Acknowledged())
            subprocess.run(["mount", "-o", "remount,size=4m", place], check=True)
            figure.failures += _ends_well(scenario, place / "store")
    distinct = len(moments)
    figure.check(distinct > SMALL_DISKS // 2, f"only {distinct} different moments")
    figure.note = f"the store takes {pages * PAGE} KiB; {distinct} different moments"
    return figure


def _pages_needed(scenario: Scenario, place: Path) -> int:
    """Return how many pages of memory a finished store takes: less than these never suffice."""
    with _mounted(place, 4096) as mounted:
        if not mounted:
            return 0
        scenario.command(place / "store")
        facts = os.statvfs(place)
        return (facts.f_blocks - facts.f_bfree) * facts.f_frsize // (PAGE << 10)


@contextlib.contextmanager
def _mounted(place: Path, kib: int) -> Iterator[bool]:
    place.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(place)]
    done = subprocess.run(words, capture_output=True, check=False)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", str(place)], check=True)
