"""Sealed records: JSON that carries the SHA-256 of itself.

A record is canonical JSON with one more field, `self_check`, the SHA-256 of the canonical JSON
of all the others. A torn, edited or half-copied record does not open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from extract.errors import DamagedStoreError, StoreFormatError
from extract.recipe import canonical_json, digest_json

FORMAT = (1, 0)
ITEMS_BESIDE = "items-beside"
"""Flag of a snapshot whose items have another name than its number gives them."""
KNOWN_FLAGS: frozenset[str] = frozenset({ITEMS_BESIDE})


def seal(kind: str, facts: Mapping[str, Any]) -> bytes:
    """Return the bytes of a record of this kind ("store", "commit", "snapshot")."""
    body = {"kind": kind, "format": f"{FORMAT[0]}.{FORMAT[1]}", "flags": [], **facts}
    return (canonical_json({**body, "self_check": digest_json(body)}) + "\n").encode("ascii")


def unseal(kind: str, name: str, data: bytes) -> dict[str, Any]:
    """Read what `seal` wrote.

    Raises:
        DamagedStoreError: If the bytes are not what was sealed.
        StoreFormatError: If the record needs a newer headstart.
    """
    try:
        body = json.loads(data)
        check = body.pop("self_check")
        major = int(body["format"].split(".")[0])
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedStoreError(f"{name} is not a record: it is empty, torn or foreign") from error
    if major > FORMAT[0] or not KNOWN_FLAGS.issuperset(body.get("flags", [])):
        raise StoreFormatError(
            f"{name} has format {body['format']} with flags {body.get('flags')}; this headstart "
            f"reads up to {FORMAT[0]}.x. Upgrade: pip install --upgrade headstart"
        )
    if not _fits(data, body, check) or body.get("kind") != kind:
        raise DamagedStoreError(f"{name} was altered: its self-check does not fit")
    return body


def _fits(data: bytes, body: Mapping[str, Any], check: object) -> bool:
    """Return whether a record has its self-check.

    A record as `seal` wrote it needs no second writing: without its self-check it is the very
    text that was hashed. One that was reformatted since has the same facts. One that lacks its
    last line feed was cut short.
    """
    if not data.endswith(b"\n"):
        return False
    text = data.rstrip(b"\n").replace(f'"self_check":"{check}",'.encode(), b"", 1)
    return hashlib.sha256(text).hexdigest() == check or digest_json(body) == check
