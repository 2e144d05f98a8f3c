"""The ways from a folder of photographs to a classifier, each as whole processes.

- a         a frozen backbone in the graph, one Dense, `fit` (`benchmarks.plain_script`)
- b0        the script of fifteen lines (`benchmarks.fifteen_lines`)
- b first   `extract run` and `heads fit` with nothing at hand: the backbone is converted too
- b again   the same into a new store, once the backbone has been converted
- b cached  `heads fit` alone, on the store that is there
- b epochs  `heads fit` of the head of (a), by Keras' optimizer for as many epochs, on that store
- b many    the same for `Setup.many_epochs`, which in the graph would take too long to measure
- b sweep   `heads sweep` of many heads at once, on that store
- c         `finetune run` of the whole backbone, from extraction to the tuned model
- d         `finetune run` of its top on activations that are extracted once, likewise

Ways of seconds are repeated, in turn; the first run, the graph, the script of fifteen lines and
fine-tuning run once: they take minutes, and the graph's epochs are repeats of one another.

Inside of the processes, the time of the work is what is left without imports. Every way sees the
same files in the same splits; ours judge on validation rows, as `fit` does at every epoch.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import forward
from benchmarks.processes import Finished, run, run_command
from benchmarks.setups import Row as Row  # part of what this module is asked for
from benchmarks.setups import Setup as Setup
from benchmarks.setups import median_of as median_of
from extract.backbones import entry

SCRIPTS = Path(__file__).parent
WAYS = {
    "in_graph": "a: in the graph",
    "fifteen_lines": "b0: script of 15 lines",
    "first": "b: extract + head, nothing at hand",
    "again": "b: the same, backbone converted",
    "cached": "b: head alone, features cached",
    "epochs": "b: head of (a), features cached",
    "many": "b: the same for many epochs",
    "sweep": "b: heads tried, features cached",
    "full": "c: fine-tuning in full",
    "suffix": "d: fine-tuning of the top, cached",
}


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder, where scripts write."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def size_of(place: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def joined(parts: Sequence[Finished]) -> dict[str, Any]:
    """Return what some processes came to together."""
    peaks = [part.peak_bytes for part in parts if part.peak_bytes is not None]
    return {
        "seconds": sum(part.seconds for part in parts),
        "work_seconds": sum(
            part.facts[name]
            for part in parts
            for name in ("work_seconds", "seconds")
            if name in part.facts
        ),
        "peak_bytes": max(peaks, default=None),
    }


def plain_words(setup: Setup) -> list[object]:
    """Return the command of `benchmarks.plain_script` for a setup, without its further options."""
    random = setup.weights == "random"
    weights = ["--random-weights"] if random else ["--weights", setup.weights]
    return [
        *("-m", "benchmarks.clocked", SCRIPTS / "plain_script.py", setup.data, *weights),
        *("--backbone", entry(setup.backbone).class_name),
        *("--arguments", json.dumps(dict(setup.arguments)), "--size", setup.image_size),
        *("--optimizer", setup.optimizer, "--learning-rate", setup.learning_rate),
        *("--epochs", setup.epochs),
    ]


class Ways:
    """The ways of one setup, in one scratch folder; later ones use what earlier ones made."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        self.setup, self.folder = setup, folder
        self._counts = setup.counts()
        self._environment = {"HEADSTART_CACHE": str(folder / "cache")}
        self._made: dict[str, list[Finished]] = {}

    def in_graph(self) -> Row:
        """Train with the backbone in the graph."""
        setup = self.setup
        done = run([*plain_words(setup), *setup.plain])
        facts, before = done.facts, done.seconds - done.facts["work_seconds"]
        ends = facts["epochs_done"]
        each = np.diff([facts["fit_begun"], *ends])[: setup.epochs]
        return Row(
            **joined([done]),
            disk_bytes=0,
            images=len(ends) * (self._counts["train"] + self._counts["validation"])
            + self._counts.get("test", 0),
            validation=facts["val_accuracy"],
            test=facts.get("test_accuracy"),
            curve=list(zip((before + end for end in ends), facts["val_accuracies"], strict=True)),
            epoch_seconds=float(np.median(each)),
            epoch_range=(float(min(each)), float(max(each))),
            training=facts["accuracies"],
        )

    def fifteen_lines(self) -> Row:
        """Run the script that people write."""
        setup, names = self.setup, self.setup.splits
        weights = None if setup.weights == "random" else setup.weights
        options = json.dumps({**setup.arguments, "weights": weights})
        place = self.folder / "fifteen"
        place.mkdir()
        words = [
            *("-m", "benchmarks.clocked", SCRIPTS / "fifteen_lines.py", setup.data),
            *(entry(setup.backbone).class_name, setup.image_size, options, *names.values()),
        ]
        with inside(place):
            done = run(words, {"PYTHONPATH": str(SCRIPTS.parent)})
        found = {split: done.facts[name] for split, name in names.items()}
        return Row(
            **joined([done]),
            disk_bytes=size_of(place),
            images=sum(self._counts.values()),
            validation=found["validation"],
            test=found.get("test"),
            curve=[(done.seconds, found["validation"])],
        )

    def first(self) -> Row:
        """Extract and train, with nothing at hand; and say how near the forward pass alone is."""
        return replace(self._extracted("first"), pace=self._pace(self._made["first"][0]))

    def again(self) -> Row:
        """Extract into a new store and train, with a converted backbone."""
        shutil.rmtree(self.store, ignore_errors=True)  # of a repeat: what is known is not extracted
        return self._extracted("again")

    def cached(self) -> Row:
        """Train on the store that is there."""
        return self._head("default", ())

    def epochs(self) -> Row:
        """Train the head of the graph on the store, as many epochs."""
        return self._head("epochs", self._like_the_graph(self.setup.epochs))

    def many(self) -> Row:
        """Train the head of the graph on the store, for many epochs."""
        return self._head("many", self._like_the_graph(self.setup.many_epochs))

    def sweep(self) -> Row:
        """Try many heads on the store."""
        rates = ",".join(f"{rate:.6f}" for rate in np.geomspace(1e-4, 1e-1, self.setup.heads))
        model = self.folder / "sweep.head"
        done = self._run(
            *("heads", "sweep", self.store, "--out", model, "--estimator", "linear"),
            *("--learning-rate", rates, "--weight-decay", "0", "--label-smoothing", "0"),
        )
        assert len(done.facts["sweep"]) == self.setup.heads
        test = done.facts.get("test") or {}
        return Row(
            **joined([done]),
            disk_bytes=size_of(model),
            images=0,
            validation=done.facts["metrics"]["validation"]["accuracy"],
            test=test.get("accuracy"),
        )

    def full(self) -> Row:
        """Fine-tune the whole backbone, images in."""
        return self._tuned("full", ["all"], self.setup.full_options)

    def suffix(self) -> Row:
        """Fine-tune the top on activations that are extracted once."""
        return self._tuned("suffix", self.setup.unfreeze)

    @property
    def store(self) -> Path:
        """Where features are."""
        return self.folder / "again.features"

    def _run(self, *words: object) -> Finished:
        return run_command(*words, environment=self._environment)

    def _extracted(self, name: str) -> Row:
        setup, store = self.setup, self.folder / f"{name}.features"
        arguments = [f"--backbone-arg={key}={value}" for key, value in setup.arguments.items()]
        extracted = self._run(
            *("extract", "run", setup.data, "--store", store, "--backbone", setup.backbone),
            *("--weights", setup.weights, "--image-size", setup.image_size, *arguments),
        )
        fitted = self._run("heads", "fit", store)
        self._made[name] = [extracted, fitted]
        found = joined(self._made[name])
        accuracy = fitted.facts["metrics"]["validation"]["accuracy"]
        return Row(
            **found,
            disk_bytes=size_of(store) + size_of(store.with_suffix(".head")),
            images=extracted.facts["extracted"],
            validation=accuracy,
            test=self._test(store.with_suffix(".head")),
            curve=[(found["seconds"], accuracy)],
        )

    def _pace(self, extracted: Finished) -> dict[str, Any]:
        """Return what an extraction's stages did, beside the forward pass alone in a process."""
        setup, facts = self.setup, extracted.facts
        spec = {"name": setup.backbone, "arguments": dict(setup.arguments)}
        words = (json.dumps({**spec, "weights": setup.weights}), setup.image_size)
        alone = run(("-m", "benchmarks.forward", *words), self._environment).facts
        shares = forward.busy(facts, forward.kind_here())
        rate = facts["images_per_second"]
        return {
            "images_per_second": rate,
            "share_of_forward": rate / alone["images_per_second"],
            "waits": forward.waits(shares),
        }

    def _like_the_graph(self, epochs: int) -> list[str]:
        setup = self.setup
        facts = {
            **{"optimizer": setup.optimizer, "learning_rate": setup.learning_rate},
            **{"batch_size": 32, "epochs": epochs, "early_stopping": "none"},
        }
        options = [word for key, value in facts.items() for word in ("--set", f"{key}={value}")]
        return ["--estimator", "linear", *options]

    def _head(self, name: str, options: Sequence[str]) -> Row:
        model = self.folder / f"{name}.head"
        fitted = self._run("heads", "fit", self.store, "--out", model, *options)
        accuracy = fitted.facts["metrics"]["validation"]["accuracy"]
        return Row(
            **joined([fitted]),
            disk_bytes=size_of(model),
            images=0,
            validation=accuracy,
            test=self._test(model),
            curve=[(fitted.seconds, accuracy)],
        )

    def _test(self, model: Path) -> float | None:
        """Return the accuracy on test images, where there are some; its time does not count."""
        if "test" not in self._counts:
            return None
        return float(self._run("heads", "evaluate", model, "--split", "test").facts["accuracy"])

    def _tuned(self, mode: str, unfreeze: Sequence[str], options: Sequence[str] = ()) -> Row:
        setup, out = self.setup, self.folder / f"{mode}.tuned"
        done = self._run(
            *("finetune", "run", self.store, "--head", self.store.with_suffix(".head")),
            *("--out", out, "--mode", mode, "--epochs", setup.tuned_epochs),
            *(word for text in unfreeze for word in ("--unfreeze", text)),
            *(*setup.tuned_options, *options),
        )
        parts = [*self._made["again"], done]
        found = joined(parts)
        train, judged = self._counts["train"], self._counts["validation"]
        images = sum(part.facts.get("extracted", 0) for part in parts)
        # Validation images are judged before the first epoch, after each, and at the end.
        images += (setup.tuned_epochs + 2) * judged
        images += setup.tuned_epochs * train if mode == "full" else train + judged
        beside = [out, self.store, *self.folder.glob("*.boundary.features")]
        return Row(
            **found,
            disk_bytes=sum(map(size_of, beside)),
            images=images,
            validation=done.facts["validation_accuracy"],
            test=self._test(out),
            curve=[
                (found["seconds"] - done.seconds, done.facts["head_validation_accuracy"]),
                (found["seconds"], done.facts["validation_accuracy"]),
            ],
            epoch_seconds=done.facts["epoch_seconds"],
        )
