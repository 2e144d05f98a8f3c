"""`store.json`: what the whole store is about, created once by the first run that keeps a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from extract.errors import DamagedStoreError, StoreFormatError
from extract.recipe import Recipe
from extract.store.files import Files, disk_errors, publish
from extract.store.records import seal, unseal

NAME = "store.json"
COPY = "bad_images.csv"
"""A copy for people, of the newest snapshot."""
FOLDERS = ("shards", "commits", "snapshots", "probes", "damaged", "tmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The recipe, the engine that the first run used, and where its parts were found."""

    recipe: Recipe
    signature: Mapping[str, str]
    """Numeric signature of the first run; later runs prefer it."""
    backbone: Mapping[str, Any] = field(default_factory=dict)
    """Name, arguments and weights as they were typed: locators, outside the recipe's key."""


def create(files: Files, header: Header) -> None:
    """Make what is missing of the store's header and folders; the header comes first."""
    with disk_errors("the store"):
        for folder in ("", "tmp"):
            files.make_folder(folder)
        data = seal(
            "store",
            {
                "recipe": header.recipe.to_json(),
                "recipe_key": header.recipe.key,
                "signature": dict(header.signature),
                "backbone": dict(header.backbone),
            },
        )
        publish(files, NAME, data)
        make_folders(files)


def make_folders(files: Files) -> None:
    """Make the folders that are missing: copies of a store often lose the empty ones."""
    with disk_errors("the store"):
        for folder in ("", *FOLDERS):
            files.make_folder(folder)


def is_foreign(files: Files) -> bool:
    """Return whether something else than a store is there."""
    return not set(files.top()) <= {NAME, COPY, *FOLDERS}


def read(files: Files) -> Header | None:
    """Return the header, or None where there is no store yet.

    Raises:
        DamagedStoreError: If it was altered.
        StoreFormatError: If it needs a newer headstart.
    """
    try:
        facts = unseal("store", NAME, files.read(NAME))
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        recipe = Recipe.from_json(facts["recipe"])
        header = Header(
            recipe=recipe,
            signature=facts["signature"],
            backbone=facts["backbone"],
        )
    except (KeyError, TypeError) as error:
        raise StoreFormatError(f"{NAME} lacks {error}") from error
    if recipe.key != facts["recipe_key"]:
        raise DamagedStoreError(f"{NAME} has a recipe that does not fit its key")
    return header
