"""A folder appears whole, or not at all."""

import os

import pytest

from heads.folder import publish_folder
from tests.helpers import tree


def test_files_are_there_and_nothing_else(tmp_path):
    publish_folder(tmp_path / "a" / "out", {"x": b"1", "deep/er/y": b"2"})

    assert tree(tmp_path) == {"a/out/x": b"1", "a/out/deep/er/y": b"2"}


def test_an_older_folder_is_replaced_whole(tmp_path):
    publish_folder(tmp_path / "out", {"old": b"1"})
    publish_folder(tmp_path / "out", {"new": b"2"})

    assert tree(tmp_path) == {"out/new": b"2"}


@pytest.mark.parametrize("call", range(4))
def test_a_failing_disk_leaves_the_older_folder(tmp_path, monkeypatch, call):
    """Whichever rename or sync fails, what was there is there."""
    publish_folder(tmp_path / "out", {"old": b"1"})
    calls = iter(range(100))

    def failing(real):
        def act(*arguments):
            if next(calls) == call:
                raise OSError(28, "No space left on device")
            return real(*arguments)

        return act

    monkeypatch.setattr(os, "replace", failing(os.replace))
    monkeypatch.setattr("extract.store.files.os.fsync", failing(os.fsync))
    with pytest.raises(OSError, match="No space"):
        publish_folder(tmp_path / "out", {"new": b"2"})

    assert tree(tmp_path) == {"out/old": b"1"}
