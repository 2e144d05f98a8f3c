"""Mode auto takes what is faster in all by estimate, and says why in numbers."""

import re
from types import SimpleNamespace

import pytest

import finetune
from extract.progress import Silent
from finetune import freezing, probing
from finetune.boundary import find_cut
from finetune.choosing import choose, decide
from finetune.options import Options
from finetune.probing import Costs


@pytest.fixture(scope="module")
def cut(network):
    plan = freezing.make_plan(freezing.layers_of(network.built), "from:conv4")
    return find_cut(network, plan)


@pytest.mark.parametrize(
    ("costs", "epochs", "kept", "mode", "words"),
    [
        # 3 epochs: 3 * (8 + 2) ms in full mode, 8 + 3 * (2 + 0) ms on kept activations
        ((0.008, 0.002, 0.0), 3, False, "suffix", "5.0 x faster .* 3 epochs take 14.0 .* 30.0 ms"),
        # One epoch on activations that must be extracted first saves nothing.
        ((0.008, 0.002, 0.001), 1, False, "full", "1 epoch takes 11.0 .* 10.0 ms"),
        # They are there from another run.
        ((0.008, 0.002, 0.001), 1, True, "suffix", "1 epoch takes 3.0 .* 10.0 ms"),
        # Reading costs more than computing.
        ((0.001, 0.002, 0.005), 9, True, "full", "0.4 x faster"),
    ],
)
def test_the_faster_in_all_is_chosen(cut, costs, epochs, kept, mode, words):
    choice = decide(cut, Costs(*costs), epochs, kept)

    assert choice.mode == mode
    assert (choice.cut is not None) == (mode == "suffix")
    assert re.search(words, choice.why)
    assert f"activations kept at {cut.name}" in choice.why


class _Notes(Silent):
    """Keeps what it hears."""

    def __init__(self):
        self.heard = []

    def note(self, text):
        self.heard.append(text)


@pytest.mark.parametrize(("prefix", "mode"), [(1.0, "suffix"), (1e-6, "full")])
def test_a_run_says_why(store, head, monkeypatch, prefix, mode):
    monkeypatch.setattr(
        probing, "probe", lambda network, cuts, size: {cuts[0].name: Costs(prefix, 0.1, 0.001)}
    )
    notes = _Notes()
    found = finetune.run(
        store,
        head.path,
        store.with_name(f"auto-{mode}.tuned"),
        unfreeze="from:conv4",
        epochs=2,
        batch_size=8,
        reporter=notes,
    )

    assert found.mode == mode
    assert "an epoch is" in found.why
    assert f"Mode {mode}: {found.why}" in notes.heard


def test_views_that_are_asked_for_are_kept_with_statistics_that_train(network):
    """They were left out without a word, and full mode drew anew in each epoch."""
    plan = freezing.make_plan(freezing.layers_of(network.built), "from:conv4")
    options = Options(views=2, augment="flip", batchnorm="train")

    assert choose(SimpleNamespace(network=network), plan, options).mode == "suffix"
    options = Options(batchnorm="train")
    assert choose(SimpleNamespace(network=network), plan, options).mode == "full"
