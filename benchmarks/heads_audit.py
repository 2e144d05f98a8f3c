"""Near duplicates at size, planted duplicates and wrong labels in photographs, a report's cost.

    python -m benchmarks.heads_audit --shared ../shared

- search    `near_pairs` over 100,000 x 1280 synthetic rows (`benchmarks.heads_linear.draw`), one
            in a hundred a copy of another with noise of .05 to .6 of each feature's deviation, in
            a process of its own whose peak memory is read at the end; recall against comparing
            all pairs in full, on 10,000 of the rows
- planted   300 photographs of cats_dogs_200px saved anew beside the 3000: as JPEG of quality 75 and
            50, mirrored, cropped by 5 %. Found: the share of copies whose original is paired with
            them. Precision: of all pairs that hold a copy of that kind, those with its original or
            another of its copies
- labels    5 % of the 3000 labels swapped at random: recall and precision of what is doubted
- report    `heads report` of the 3000 items, as a process, and the size of the page

Disks are warm. Not measured: reading a store of 100,000 rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command_line import photographs_of
from benchmarks.goals import at_least, at_most, below
from benchmarks.heads_linear import draw
from benchmarks.timing import machine, seconds_of

DATA = "cats_dogs_200px"
BACKBONE = {"arguments": {"alpha": 0.35}}
KINDS = ("quality 75", "quality 50", "mirrored", "cropped")
GOALS = {"search": 60.0, "memory": 2e9, "recall": 0.999, "report": 30.0, "page": 10e6}


def search(rows: int = 100_000, width: int = 1280, sample: int = 10_000) -> dict[str, Any]:
    """Return seconds, peak bytes of the process, pairs, and recall on a sample of rows."""
    from heads.duplicates import SIMILARITY, near_pairs

    X = _with_copies(rows, width)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        np.save(Path(folder) / "X.npy", X)
        code = f"from benchmarks.heads_audit import timed; timed({str(Path(folder) / 'X.npy')!r})"
        child = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    half = min(rows, sample) // 2
    part = np.concatenate([X[:half], X[-half:]])
    U = part - part.mean(axis=0)
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    wanted = {tuple(pair) for pair in np.argwhere(np.triu(U @ U.T, 1) >= SIMILARITY + 1e-5)}
    found = near_pairs(part)
    got = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    recall = len(wanted & got) / len(wanted) if wanted else 1.0
    return {"rows": rows, **json.loads(child.stdout), "recall": recall}


def timed(path: str) -> None:
    """Print seconds, peak bytes and pairs of a search over the rows in a file."""
    from heads.duplicates import near_pairs

    X = np.load(path)
    found: list[Any] = []
    seconds = seconds_of(lambda: found.append(near_pairs(X)))
    print(json.dumps({"seconds": seconds, "peak": _peak(), "pairs": len(found[0])}))


def _peak() -> int:
    """Return the most bytes that this process ever had in memory.

    From Linux's own account where there is one: `ru_maxrss` goes on from the process that started
    this one, which holds the rows as well.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _with_copies(rows: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    X = draw(rows - rows // 6, width)[0][:rows]
    copies = max(1, rows // 100)
    deviation = X[: len(X) // 2].std(axis=0)
    source = rng.choice(len(X) // 2, copies, replace=False)
    noise = rng.normal(size=(copies, width)).astype(np.float32)
    X[-copies:] = np.maximum(X[source] + noise * deviation * rng.uniform(0.05, 0.6, (copies, 1)), 0)
    return X


def plant(images: Path, folder: Path, count: int) -> None:
    """Write `images` as links in folder/original, and copies of some of them in folder/KIND."""
    from PIL import Image, ImageOps

    paths = sorted(images.rglob("*.jpg"))
    for kind in (*KINDS, "original"):
        (folder / kind).mkdir(parents=True)
    for number, path in enumerate(paths):
        (folder / "original" / f"{number}.jpg").write_bytes(path.read_bytes())
    for number in np.random.default_rng(0).choice(len(paths), count, replace=False).tolist():
        with Image.open(paths[number]) as file:
            picture = file.convert("RGB")
        x, y = (round(0.025 * side) for side in picture.size)
        inner = (x, y, picture.width - x, picture.height - y)
        changed = {
            "quality 75": (picture, 75),
            "quality 50": (picture, 50),
            "mirrored": (ImageOps.mirror(picture), 95),
            "cropped": (picture.crop(inner), 95),
        }
        for kind, (made, quality) in changed.items():
            made.save(folder / kind / f"{number}.jpg", quality=quality)


def find_planted(images: Path, folder: Path, count: int, **backbone: Any) -> dict[str, Any]:
    """Return, for each kind of copy, the share that is found, and the precision."""
    import extract
    from heads.duplicates import near_pairs

    plant(images, folder / "planted", count)
    extract.run(folder / "planted", folder / "planted.features", **backbone)
    data = extract.open_store(folder / "planted.features").load(None)
    names = [Path(path) for path in data.items["path"].to_pylist()]
    kind = np.array([name.parent.name for name in names])
    number = np.array([int(name.stem) for name in names])
    pairs = near_pairs(data.X)
    same = number[pairs.first] == number[pairs.second]
    found = {}
    for name in KINDS:
        first, second = kind[pairs.first] == name, kind[pairs.second] == name
        original = (kind[pairs.first] == "original") | (kind[pairs.second] == "original")
        hits = np.unique(number[pairs.first[same & original & (first | second)]])
        here = first | second
        found[name] = {
            "found": len(hits) / count,
            "precision": float(same[here].mean()) if here.any() else 1.0,
        }
    return found


def doubt_labels(store: Path, share: float = 0.05) -> dict[str, float]:
    """Return recall and precision where a share of the labels is swapped."""
    import extract
    from heads.label_errors import doubt, out_of_fold

    data = extract.open_store(store).load(None)
    assert data.y is not None
    rng = np.random.default_rng(0)
    classes = int(data.y.max()) + 1
    rows = rng.choice(len(data.y), int(share * len(data.y)), replace=False)
    codes = data.y.copy()
    codes[rows] = (codes[rows] + rng.integers(1, classes, len(rows))) % classes
    swapped = codes != data.y
    doubted = doubt(out_of_fold(data.X, codes, np.arange(len(codes))), codes).suggested >= 0
    return {
        "recall": float(doubted[swapped].mean()),
        "precision": float(swapped[doubted].mean()) if doubted.any() else 1.0,
    }


def measure(
    shared: Path,
    *,
    copied: int = 300,
    sizes: tuple[int, int, int] = (100_000, 1280, 10_000),
    backbone: Mapping[str, Any] = BACKBONE,
) -> dict[str, Any]:
    """Measure all four.

    Args:
        shared: The folder of real weights and photographs.
        copied: Photographs that are planted again, in each of `KINDS`.
        sizes: Rows, width and sample of `search`.
        backbone: Options of `extract.run`.
    """
    import extract

    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder, images = Path(scratch), photographs_of(shared, DATA)
        store = folder / "photos.features"
        extract.run(images, store, **backbone)
        words = ["-m", "heads", "fit", store, "--out", folder / "photos.head"]
        subprocess.run([sys.executable, *map(str, words)], stdout=subprocess.DEVNULL, check=True)
        words = ["-m", "heads", "report", folder / "photos.head"]
        report = seconds_of(
            lambda: subprocess.run(
                [sys.executable, *map(str, words)], stdout=subprocess.DEVNULL, check=True
            )
        )
        return {
            "search": search(*sizes),
            "planted": find_planted(images, folder, copied, **backbone),
            "labels": doubt_labels(store),
            "items": extract.open_store(store).items.num_rows,
            "report": report,
            "page": (folder / "photos.report.html").stat().st_size,
        }


def verdict(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each figure, beside what it must reach."""
    search, labels = facts["search"], facts["labels"]
    return [
        f"near duplicates among {search['rows']:,} rows: {search['seconds']:.1f} s "
        f"{at_most(search['seconds'], GOALS['search'])}, peak {search['peak'] / 1e9:.2f} GB "
        f"{below(search['peak'] / 1e9, 2)}, recall {search['recall']:.4f} "
        f"{at_least(search['recall'], GOALS['recall'])}",
        *(
            f"planted, {kind}: {found['found']:.3f} found, precision {found['precision']:.3f}"
            + (
                f", the smaller {at_least(min(found['found'], found['precision']), 0.95)}"
                if kind.startswith("quality")
                else ""
            )
            for kind, found in facts["planted"].items()
        ),
        f"swapped labels: recall {labels['recall']:.3f} {at_least(labels['recall'], 0.8)}, "
        f"precision {labels['precision']:.3f} {at_least(labels['precision'], 0.5)}",
        f"report of {facts['items']:,} items: {facts['report']:.1f} s as a process "
        f"{at_most(facts['report'], GOALS['report'])}, {facts['page'] / 1e6:.1f} MB "
        f"{at_most(facts['page'] / 1e6, 10)}",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    measured = measure(parser.parse_args().shared.resolve())
    for line in verdict(measured):
        print(line, file=sys.stderr)
    print(json.dumps({"machine": machine(), **measured}))
