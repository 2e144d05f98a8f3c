"""The table of an audit: one line for each item that something was found about.

    path,label,group,in_split,findings,suggested_label,margin,nearest,similarity

`extract relabel` takes it back. Correct the column `label`, or take `suggested_label` over; items
that leak between splits have a common `group` already, which will bring them into one split.
Labels of another column of the items are under "label of COLUMN", and stay as they are.
"""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import dataclass, field

from extract.csv_cells import TextWriter
from heads.auditing import Audit

COLUMNS = (
    "path",
    "label",
    "group",
    "in_split",
    "findings",
    "suggested_label",
    "margin",
    "nearest",
    "similarity",
)


@dataclass
class _Line:
    findings: dict[str, None] = field(default_factory=dict)
    group: str | None = None
    suggested: str = ""
    margin: str = ""
    nearest: str = ""
    similarity: str = ""


def csv_bytes(audit: Audit) -> bytes:
    """Return the table as CSV in UTF-8, in item order."""
    lines = _lines(audit)
    items = audit.items.select(["path", "label", "group", "split"]).to_pylist()
    sink = io.StringIO()
    writer = TextWriter(sink)
    writer.writerow(COLUMNS if audit.label_column == "label" else _other(audit.label_column))
    for index in sorted(lines):
        item, line = items[index], lines[index]
        writer.writerow(
            [
                item["path"],
                item["label"] or "",
                line.group or item["group"] or "",
                item["split"],
                " ".join(line.findings),
                line.suggested,
                line.margin,
                line.nearest,
                line.similarity,
            ]
        )
    return sink.getvalue().encode()


def is_table(beginning: bytes) -> bool:
    """Whether a file that begins so is such a table."""
    first, _, rest = (",".join(COLUMNS)).partition("label")
    line = beginning.partition(b"\n")[0].rstrip(b"\r")
    return line.startswith(f"{first}label".encode()) and line.endswith(rest.encode())


def _other(column: str) -> tuple[str, ...]:
    return tuple(f"label of {column}" if name == "label" else name for name in COLUMNS)


def _lines(audit: Audit) -> dict[int, _Line]:
    lines: dict[int, _Line] = defaultdict(_Line)
    paths = audit.items["path"].to_pylist()
    for pair in audit.pairs:
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            line = lines[one]
            line.findings |= dict.fromkeys(pair.kinds)
            if not line.nearest:  # pairs come with the likest first
                line.nearest, line.similarity = paths[other], f"{pair.similarity:.4f}"
    for index, name in _groups(audit).items():
        lines[index].group = name
    for index in audit.doubted.tolist():
        assert audit.doubts is not None
        lines[index].findings["label"] = None
        lines[index].suggested = audit.classes[audit.doubts.suggested[index]]
        lines[index].margin = f"{audit.doubts.margin[index]:.4f}"
    for index in audit.outliers.tolist():
        lines[index].findings["outlier"] = None
    return lines


def _groups(audit: Audit) -> dict[int, str]:
    """Return item → a group that all items have which leaking pairs lead to from it.

    Where one of them is in a group of the user's already, that is the group.
    """
    root: dict[int, int] = {}

    def find(item: int) -> int:
        while root.setdefault(item, item) != item:
            item = root[item]
        return item

    for pair in audit.pairs_of("leakage"):
        a, b = sorted((find(pair.first), find(pair.second)))
        root[b] = a
    given, keys = (audit.items[name].to_pylist() for name in ("group", "image_key"))
    names: dict[int, str] = {}
    for item in sorted(root):
        if given[item]:
            names.setdefault(find(item), given[item])
    return {item: names.get(find(item), f"near-{keys[find(item)][:12]}") for item in root}
