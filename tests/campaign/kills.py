"""kill -9 at random moments of real processes, and several writers on one store.

The processes extract with the backbone of arithmetic and no machine dies, so what they wrote stays;
`crashes` is about what a power cut takes. Here it is the operating system that does the cutting,
in the middle of anything: of a write, of a thread, of an import.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from extract.store.opening import open_store
from extract.store.verify import verify
from tests.campaign.figures import Effort, Figure
from tests.campaign.world import (
    LATE,
    Truth,
    arithmetic_backbone,
    extract_folder,
    picture,
    scratch,
    truth_of,
    write_tree,
)

ROOT = Path(__file__).resolve().parents[2]
WRITERS = 3
CODE = """
import sys, time
from pathlib import Path
from tests.campaign.world import arithmetic_backbone, extract_folder
from tests.helpers import SyntheticEngine
call = SyntheticEngine.__call__
def slow(self, pixels):
    time.sleep(0.02)  # a real backbone takes time, in which the others write
    return call(self, pixels)
SyntheticEngine.__call__ = slow
with arithmetic_backbone():
    print("ready", flush=True)
    sys.stdin.readline()
    extract_folder(Path(sys.argv[1]), Path(sys.argv[2]), format=sys.argv[3], batch_size=2)
"""
CONTENT = LATE | {f"train/ants/{i}.png": picture(200 + i) for i in range(40)}


def measure(effort: Effort) -> Iterator[Figure]:
    """Yield a figure for kills in each format, and one for rounds of three writers."""
    with arithmetic_backbone(), scratch() as folder:
        truth = truth_of(folder / "truth", CONTENT)
        photos = write_tree(folder / "photos", CONTENT)
        for form in ("zarr", "hdf5"):
            yield killed(photos, folder / form, form, truth, effort)
        yield crowded(photos, folder / "crowd", truth, effort)


def started(photos: Path, store: Path, form: str) -> subprocess.Popen[bytes]:
    """Start a process that is about to extract, with every import behind it."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(photos), str(store), form],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def go(process: subprocess.Popen[bytes]) -> None:
    """Let a process extract."""
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill a process after a while; return whether it was still there to be killed."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    process.communicate()
    return False


def killed(photos: Path, store: Path, form: str, truth: Truth, effort: Effort) -> Figure:
    """Kill processes until so many were killed, each going on where the last one was."""
    figure = Figure(point=2, what=f"kill -9 of a process that writes {form}")
    draw, through = random.Random(effort.seed), 0
    while figure.tried < effort.kills:
        process = started(photos, store, form)
        go(process)
        if kill_after(process, draw.uniform(0.0, 0.5)):
            figure.tried += 1
            figure.failures += _sound(store, truth, whole=False)
        else:
            through += 1
        if through or draw.random() < 0.2:  # begin with nothing again
            extract_folder(photos, store, format=form)
            figure.failures += _sound(store, truth)
            write_tree(store, {})
            through = 0
    extract_folder(photos, store, format=form)
    figure.failures += _sound(store, truth)
    return figure


def crowded(photos: Path, store: Path, truth: Truth, effort: Effort) -> Figure:
    """Let three processes write one store at once; in every other round one of them is killed."""
    figure = Figure(point=2, what=f"rounds of {WRITERS} writers on one store, half with a kill")
    draw, kills, rounds = random.Random(effort.seed), 0, max(2, effort.kills // 5)
    while figure.tried < rounds:
        with_kill = figure.tried % 2 == 1
        write_tree(store, {})
        processes = [started(photos, store, ("zarr", "hdf5")[i % 2]) for i in range(WRITERS)]
        for process in processes:
            go(process)
        if with_kill:
            time.sleep(draw.uniform(0.02, 0.4))
            processes[0].send_signal(signal.SIGKILL)
        for place, process in enumerate(processes):
            _, said = process.communicate()
            if process.returncode and not (with_kill and place == 0):
                figure.failures.append(said.decode()[-300:])
        figure.failures += _sound(store, truth)
        extract_folder(photos, store)
        figure.failures += _sound(store, truth)
        if not with_kill or processes[0].returncode == -signal.SIGKILL:
            figure.tried += 1  # else it was through before: the round is tried once more
            kills += with_kill
    figure.check(kills == rounds // 2, f"{kills} of {rounds} rounds killed a living writer")
    figure.note = f"in {kills} a living writer was killed"
    return figure


def _sound(store: Path, truth: Truth, whole: bool = True) -> list[str]:
    """Return what is wrong with a store; `whole` whether it must be finished."""
    if not whole and not (store / "store.json").exists():
        return []
    found = [f"{n} {what}" for n, what in verify(store).problems.items() if n != "bad_images.csv"]
    if whole or any((store / "snapshots").glob("*.json")):
        found += truth.problems(open_store(store))
    return found
