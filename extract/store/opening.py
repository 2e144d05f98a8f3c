"""A store where it lies, in a folder or in a bucket: its parts, and its snapshots opened."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from extract.errors import DamagedStoreError, StoreError
from extract.places import bucket_url, local_path
from extract.store import header
from extract.store.file_shards import FileShards
from extract.store.files import Files, LocalFiles, read_errors
from extract.store.hdf5_shards import HDF5Format
from extract.store.reader import Snapshot
from extract.store.snapshots import Snapshots
from extract.store.zarr_shards import ZarrFormat

UNSEALED = (
    "has no sealed snapshot yet: its first run did not finish. Run the same command again: it "
    "resumes"
)


class Store:
    """The parts of one store's folder."""

    def __init__(self, files: Files, path: str) -> None:
        self.files = files
        self.path = path
        self.shards = FileShards(files, [ZarrFormat(), HDF5Format()])
        self.snapshots = Snapshots(files)

    @classmethod
    def at(cls, path: str | Path) -> Self:
        """Return the store in a folder, or at a bucket's URL, which may not exist yet."""
        url = bucket_url(path)
        if url is None:
            folder = local_path(path)
            return cls(LocalFiles(folder), str(folder))
        from extract.store.object_files import ObjectFiles

        return cls(ObjectFiles.at(url), url)

    def missing(self) -> StoreError:
        """Return the error that tells that no store is here."""
        whole, number = split_snapshot(self.path)
        if number is not None and header.NAME in Store.at(whole).files.top():
            return StoreError(
                f"{self.path} names a snapshot of {whole}, and only python -m extract diff A B "
                f"takes one. Give {whole}"
            )
        return StoreError(
            f"{self.path} is not a store: it has no {header.NAME}. To make one: "
            f"python -m extract run IMAGES --store {self.path}"
        )

    def open(self, number: int | None = None) -> Snapshot:
        """Return a snapshot, the newest where no number is given."""
        with read_errors(self.path):
            return self._open(number)

    def _open(self, number: int | None) -> Snapshot:
        head = header.read(self.files)
        if head is None:
            raise self.missing()
        numbers = self.snapshots.numbers()
        if number is None and (lost := self.snapshots.lost()) is not None:
            raise DamagedStoreError(
                f"{self.path}: snapshot {lost} was damaged and set aside, and no run has taken its "
                f"place. Type: python -m extract repair {self.path}"
            )
        if not numbers:
            raise StoreError(f"{self.path} {UNSEALED}")
        if number is not None and number not in numbers:
            have = ", ".join(map(str, numbers))
            raise StoreError(f"{self.path} has no snapshot {number}. It has: {have}")
        record = self.snapshots.read(numbers[-1] if number is None else number)
        if record.recipe_key != head.recipe.key:
            raise DamagedStoreError(f"{self.path}: store.json and the snapshot do not fit")
        self.snapshots.check_present(record)
        return Snapshot(self.path, self.shards, head, record, self.snapshots.items(record))


def split_snapshot(place: str | Path) -> tuple[str, int | None]:
    """Return ("photos.features", 3) for "photos.features@3"; None where it names no snapshot."""
    path, _, number = str(place).rpartition("@")
    if path and number.isdigit() and not Path(place).exists():
        return path, int(number)
    return str(place), None


def open_store(path: str | Path, snapshot: int | None = None) -> Snapshot:
    """Open a store for reading.

    Args:
        path: Its folder, such as "photos.features", or its URL, "s3://bucket/photos.features".
        snapshot: Number of a snapshot; the newest by default.

    Raises:
        StoreError: If there is no store, or no sealed snapshot in it.
        DamagedStoreError: If a file that it needs is missing, short or altered.
        StoreFormatError: If it was made by a newer headstart.
    """
    return Store.at(path).open(snapshot)
