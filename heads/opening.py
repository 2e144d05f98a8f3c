"""A store is opened where one was asked for; a model in its place is told, and whose it is."""

from __future__ import annotations

from pathlib import Path

from extract.store.opening import open_store
from extract.store.reader import Snapshot
from heads.errors import HeadError
from heads.model_folder import is_model, load


def opened_snapshot(store: str | Path | Snapshot, number: int | None = None) -> Snapshot:
    """Return an open snapshot as it is, and open a store's folder.

    Raises:
        HeadError: If a model is there.
        StoreError: If the store cannot be opened.
    """
    if isinstance(store, Snapshot):
        return store
    check_no_model(store)
    return open_store(store, number)


def check_no_model(store: str | Path) -> None:
    """Raise `HeadError` if a model is where a store would stand."""
    if is_model(store):
        raise HeadError(
            f"{store} is a model, where a store would stand. Give the one that it was trained on: "
            f"{load(store).store['path']}"
        )
