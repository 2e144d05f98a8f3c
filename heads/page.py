"""Pages for people: one HTML file that opens anywhere, without a network.

Everything that comes from the data is escaped by Jinja. The page's own policy forbids whatever
does not come with it: pictures are data URIs, and the one style and the one script are named by
their SHA-256, so that a script that a label or a path carries could not run even if it got in.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heads.errors import HeadError
from heads.folder import publish_file

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
LOOK = 1024
"""Bytes at the beginning of a page that say what made it."""


def write_page(path: Path, template: str, values: Mapping[str, Any]) -> int:
    """Render a page and publish it whole; a page of the same kind is replaced.

    Args:
        path: The file.
        template: "report" or "audit".
        values: What the template names.

    Returns:
        The size of the page, in bytes.

    Raises:
        HeadError: If something else has that path, or the disk refuses.
    """
    check_place(path, template)
    data = render(template, values).encode()
    try:
        publish_file(path, data)
    except OSError as error:
        raise HeadError(
            f"The page cannot be written to {path}: {error.strerror or error}. Give another --out"
        ) from error
    return len(data)


def check_place(path: Path, template: str) -> None:
    """Raise `HeadError` if something else than such a page has this path."""
    if path.exists() and _generator(template).encode() not in beginning(path):
        raise HeadError(f"{path} is something else than a page of `{template}`. Give another --out")


def beginning(path: Path) -> bytes:
    """Return the first bytes of a file; nothing of what is no file."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(LOOK)


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a page as HTML."""
    style, script = (
        (TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(f"{template}.html.j2")
        .render(values, style=style, script=script, policy=policy, generator=_generator(template))
    )


def _generator(template: str) -> str:
    return f"headstart {template}"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: "" if value is None else f"{value:.4f}"
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment
