"""Where memory runs out, the last line names what to lower, and the last good state is on disk."""

import errno

import pytest

from finetune import feeds, planning, probing, running, training
from finetune.errors import TrainingError
from finetune.memory import is_out_of_memory, naming_memory
from finetune.network import Network
from finetune.pixel_cache import PixelCache
from tests.finetune.test_cli import typed

WORDS = ("--unfreeze", "from:conv4", "--epochs", "1", "--batch-size", "8")
CURE = (
    "Memory ran out with --batch-size 8 and --cache-memory 2GB. Give --batch-size 4, or a lower "
    "--cache-memory, such as 200MB"
)


def no_memory(*_, **__):
    raise MemoryError


@pytest.mark.parametrize(
    ("place", "name", "mode"),
    [
        (PixelCache, "_decode", "full"),
        (PixelCache, "take", "full"),
        (Network, "judge", "full"),
        (training.Tuner, "fit", "suffix"),
        (feeds, "open_boundary", "suffix"),
        (probing, "_step", "auto"),
        (running, "publish", "suffix"),
    ],
    ids=["decoding", "cache", "judging", "training", "boundary", "probe", "publishing"],
)
def test_one_line_wherever_memory_runs_out(
    store, head, monkeypatch, capsys, tmp_path, place, name, mode
):
    monkeypatch.setattr(place, name, no_memory)
    out = tmp_path / "x.tuned"
    words = (store, "--head", head.path, "--out", out, "--mode", mode, *WORDS)
    status, _, err = typed(monkeypatch, capsys, "run", *words)

    assert status == 1
    assert err.strip().splitlines()[-1].startswith(f"Error: {CURE}")
    if name == "publish":
        assert list((tmp_path / ".x.tuned.training").rglob("best.npz"))
    assert out.exists() == (name == "fit")  # then the best of what was tried is written


def test_the_planner_names_its_batch(store, head, monkeypatch, capsys):
    monkeypatch.setattr(planning, "cut_facts", no_memory)
    status, _, err = typed(monkeypatch, capsys, "plan", store, "--head", head.path)

    assert status == 1
    assert err.strip().splitlines()[-1] == (
        "Error: Memory ran out with --batch-size 32. Give --batch-size 16"
    )


def test_what_cannot_be_lowered_is_not_named():
    cure = r"size 1 and .* 2GB\. Give --cache-memory 200MB$"
    with pytest.raises(TrainingError, match=cure), naming_memory(1, "2GB"):
        raise MemoryError


class ResourceExhaustedError(Exception):
    """As TensorFlow calls it."""


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (ResourceExhaustedError("OOM when allocating tensor"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("shapes differ"), False),
    ],
)
def test_errors_of_every_backend_are_known(error, memory):
    assert is_out_of_memory(error) == memory
