"""Paths and labels that strangers choose: pages show them, and tables hold them, as text alone.

These are let in, for a name may be anything. What is looked at is what comes out: no markup in a
page that was not ours, no cell of a table that a spreadsheet would compute.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import shutil
import sys
from pathlib import Path

import pytest

import extract
from extract.csv_cells import FORMULA
from heads.model_folder import save
from tests.campaign.world import COLUMNS, OPTIONS, picture
from tests.heads.models import linear_model

MARKUP = "<script>document.title='in'</script>"
LABELS = (MARKUP, "=HYPERLINK(1)")
NAMES = ("<img src=x onerror=alert(1)>", "@SUM(1)", "+1|calc", "-2+3")
SPLITS = ("train", "train", "validation", "test")


def make_store(folder: Path) -> Path:
    """Extract pictures whose names, and table whose labels, are markup and formulas."""
    photos, rows = folder / "photos", []
    photos.mkdir(parents=True)
    for number in range(16):
        name = f"{NAMES[number % 4]}{number}.png"
        (photos / name).write_bytes(picture(number))
        rows.append((name, LABELS[number // 4 % 2], SPLITS[number % 4]))
    (photos / "=bad.png").write_bytes(b"no picture")
    rows.append(("=bad.png", LABELS[0], "train"))
    with open(photos / "table.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    store = folder / "words.features"
    extract.run(photos / "table.csv", store, max_bad="50%", **OPTIONS)
    return store


def problems(folder: Path) -> dict[str, list[str]]:
    """Return, for each page and table that is made from such a store, what it lets through."""
    store, head = make_store(folder), folder / "words.head"
    save(linear_model(store, COLUMNS), head)
    for package, *words in (
        ("heads", "report", head, store, "--out", folder / "report.html"),
        ("heads", "audit", store, "--out", folder / "audit.html"),
        ("extract", "export", store, folder / "rows.npy"),
    ):
        _type(package, *words)
    shutil.copy(store / "bad_images.csv", folder)
    found = {p.name: _markup(p) for p in sorted(folder.glob("*.html"))}
    return found | {p.name: _formulas(p) for p in sorted(folder.glob("*.csv"))}


def _type(package: str, *words: object) -> None:
    """Run a command line here, where the backbone is arithmetic; raise if it fails."""
    module = importlib.import_module(f"{package}.cli")
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(sys, "argv", [package, *map(str, words)])
        try:
            with contextlib.redirect_stdout(said):
                module.main()
        except SystemExit as ended:
            if ended.code:
                raise AssertionError(f"{package} {words[0]}: {said.getvalue()}") from ended


def _markup(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    bad = [f"{page.name} has {what}" for what in (MARKUP, "<img src=x") if what in text]
    return bad if "document.title" in text else [*bad, f"{page.name} does not show the label"]


def _formulas(table: Path) -> list[str]:
    with open(table, encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    return [f"{table.name} has the cell {cell!r}" for cell in cells if _is_formula(cell)]


def _is_formula(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.startswith(tuple(FORMULA))
    return False
