"""The command line, as tests call it."""

import pytest

from extract import console
from extract.cli import app


@pytest.fixture
def cli(monkeypatch, capsys):
    """A function that runs a command line and returns (status, stdout, stderr)."""

    def call(*words):
        monkeypatch.setattr("sys.argv", ["extract", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            console.run_app(app, "python -m extract")
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call
