"""A file that is written beside its place appears whole, and a refusing disk is what is told."""

import errno
from pathlib import Path

import pytest

from extract.published import published


def test_what_succeeds_replaces_what_was_there(tmp_path):
    out = tmp_path / "out.txt"
    out.write_text("old")
    with published(out) as scratch:
        scratch.write_text("new")

    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("out.txt", "new")]


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_fails_leaves_what_was_there_alone(tmp_path, is_folder):
    out = tmp_path / "out"
    out.write_text("old")

    def fail():
        with published(out) as scratch:
            if is_folder:
                scratch.mkdir()
            (scratch / "a" if is_folder else scratch).write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("out", "old")]


def test_a_file_system_that_refuses_to_remove_hides_no_error(tmp_path, monkeypatch):
    """One that is read-only refuses this also where nothing was written."""

    def refuse(path, missing_ok=False):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ZeroDivisionError), published(tmp_path / "out"):
        raise ZeroDivisionError
