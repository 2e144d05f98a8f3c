"""A disk that is full or fails, at every operation: once, and from then on.

Every command is typed on a disk that refuses its n-th operation with ENOSPC (changes) or EIO
(reading as well). It must end with one line that names the file and the cause, or not have needed
the operation; nothing acknowledged may be lost. Then it is typed on a disk that refuses another
operation, and at last on a sound one, where it must end with the truth.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from extract.errors import HeadstartError
from tests.campaign.crashes import interrupted
from tests.campaign.disk import Disk, Fault, watching
from tests.campaign.figures import Effort, Figure
from tests.campaign.scenarios import Acknowledged, Scenario, scenarios
from tests.campaign.world import (
    LATE,
    numbered_scratch_names,
    scratch,
    tree,
    write_tree,
)

KINDS = tuple(product((errno.ENOSPC, errno.EIO), (False, True)))
SMALL_DISKS = (24, 48, 64, 96)  # KiB: the store of the campaign takes about 100
COMMAND_LINE = (0, 7, 19, 31)


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield a figure for each command, one for exit statuses and one for small real disks."""
    with scenarios() as commands, numbered_scratch_names(), scratch() as folder:
        for scenario in commands:
            yield refuse_everywhere(scenario, folder / "store", effort)
        yield exit_statuses(folder)
        yield small_disks(commands[0], folder / "disk")


def refuse_everywhere(scenario: Scenario, store: Path, effort: Effort) -> Figure:
    """Refuse every operation of one command, in one way each or in all four."""
    figure = Figure(point=3, what=f"{scenario.name}: operations that the disk refused")
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
                    tree(store), fault=Fault(draw.randrange(60), code_again, for_good_again)
                )
                _typed(scenario, store, disk, Acknowledged(), figure)
                again += disk.refused > 0
            figure.failures += _ends_well(scenario, store)
    figure.note = f"{again} again on the second try"
    return figure


def _refused(scenario: Scenario, store: Path, fault: Fault, figure: Figure) -> bool:
    """Type a command on a disk with a fault; return whether the command met it."""
    disk, acknowledged = Disk(scenario.begin, fault=fault), Acknowledged()
    ended = _typed(scenario, store, disk, acknowledged, figure)
    if not disk.refused:
        return False
    figure.tried += 1
    if ended is not None:
        text = str(ended)
        cause = os.strerror(fault.code)
        if scenario.damaged and not fault.for_good:  # a repair may take the file for damaged
            cause = cause if cause in text else "is missing"
        path = str(store) in text or "shards/" in text
        named = path and cause in text and "\n" not in text
        figure.check(named, f"{scenario.name}, {fault}: {text!r} lacks path or cause")
    figure.failures += scenario.crashed(store, acknowledged)
    return True


def _typed(
    scenario: Scenario, store: Path, disk: Disk, acknowledged: Acknowledged, figure: Figure
) -> BaseException | None:
    """Type a command on a disk with a fault; anything but a deliberate error is a failure."""
    try:
        return interrupted(scenario, store, disk, acknowledged)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        figure.failures.append(f"{scenario.name}, {disk.fault}: a traceback: {what}")
        return None


def _ends_well(scenario: Scenario, store: Path) -> list[str]:
    try:
        scenario.again(store)
        return scenario.finished(store)
    except (HeadstartError, AssertionError) as error:
        return [f"{scenario.name} does not go on: {error}"]


def exit_statuses(folder: Path) -> Figure:
    """Look at what the command line makes of such an error."""
    from extract.cli import main

    figure = Figure(point=3, what="the command line on a disk that refuses: one line, status 1")
    photos = write_tree(folder / "photos", LATE)
    words = ["extract", "run", str(photos), "--backbone", "digits", "--image-size", "16"]
    for at in COMMAND_LINE:
        said = io.StringIO()
        write_tree(folder / "photos.features", {})
        with (
            watching(Disk({}, fault=Fault(at, errno.ENOSPC, True))),
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            patch.setattr("sys.argv", words)
            status: object = None
            try:
                main()
            except SystemExit as ended:
                status = ended.code
        figure.tried += 1
        last = said.getvalue().splitlines()[-1:]
        good = status == 1 and "Traceback" not in said.getvalue() and "No space left" in str(last)
        figure.check(good, f"operation {at}: status {status}, {last}")
    return figure


def small_disks(scenario: Scenario, place: Path) -> Figure:
    """Extract onto real file systems that are too small, then onto one that is not."""
    figure = Figure(point=3, what="real file systems in memory, too small for the store")
    for size in SMALL_DISKS:
        with _mounted(place, size) as mounted:
            if not mounted:
                figure.note = "this machine lets nobody mount one"
                return figure
            figure.tried += 1
            try:
                scenario.command(place / "store")
                figure.note += f"{size} KiB were enough; "
            except HeadstartError as error:
                text = str(error)
                figure.check("No space left on device" in text, f"{size} KiB: {text}")
                figure.failures += scenario.crashed(place / "store", Acknowledged())
            subprocess.run(["mount", "-o", "remount,size=4m", place], check=True)
            figure.failures += _ends_well(scenario, place / "store")
    return figure


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
