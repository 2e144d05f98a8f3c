"""Disks keep the contract of files: this machine's, and the simulated one that loses power."""

import errno

import pytest

from extract.store.files import LocalFiles
from extract.store.header import FOLDERS
from tests.extract.store.files_contract import FilesContract
from tests.simulated import SimulatedFiles


class TestLocalFiles(FilesContract):
    @pytest.fixture
    def files(self, tmp_path):
        files = LocalFiles(tmp_path / "store")
        for folder in ("", *FOLDERS):
            files.make_folder(folder)
        return files


class TestSimulatedFiles(FilesContract):
    @pytest.fixture
    def files(self):
        return SimulatedFiles()


def test_a_place_that_is_not_there_has_nothing_at_its_top(tmp_path):
    assert LocalFiles(tmp_path / "nothing").top() == []


def test_a_folder_that_is_there_already_becomes_durable_too(tmp_path, monkeypatch):
    """Who made it may have been killed before its name was synced."""
    synced = []
    monkeypatch.setattr("extract.store.files._sync_folder", synced.append)
    (tmp_path / "above" / "store").mkdir(parents=True)

    LocalFiles(tmp_path / "above" / "store").make_folder("shards")
    assert synced == [tmp_path / "above", tmp_path / "above" / "store"]
    synced.clear()
    LocalFiles(tmp_path / "above" / "store").make_folder("shards")
    assert synced == [tmp_path / "above" / "store"]


def test_a_folder_above_that_nobody_may_sync_is_let_be(tmp_path, monkeypatch):
    def refuse(path):
        if path == tmp_path.parent:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("extract.store.files._sync_folder", refuse)
    LocalFiles(tmp_path / "store").make_folder("")

    assert (tmp_path / "store").is_dir()


def test_a_file_in_the_place_of_a_folder_is_something_else(tmp_path):
    (tmp_path / "file").write_bytes(b"x")

    assert LocalFiles(tmp_path / "file").top() == ["."]
