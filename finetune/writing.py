"""The network as it came out → a model folder that every command of `heads` takes.

features and logits of train and validation rows ─▶ temperature, novelty, metrics
backbone ─▶ backbone.npz ─▶ joined anew from disk, compared ─▶ model.keras
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from extract import identity, keras_weights, pixels
from finetune import curves
from finetune.errors import FinetuneError
from finetune.judging import judge
from finetune.network import Network
from finetune.rows import Rows
from heads import joining
from heads.calibration import fit_temperature
from heads.data import Source
from heads.metrics import log_losses
from heads.model import Model
from heads.model_folder import BACKBONE, JOINED, save
from heads.novelty import Novelty
from heads.scoring import softmax

PROBES = 8
"""Validation images on which the joined model is compared."""
PROBABILITIES = 1e-4
"""How far its probabilities may be from the network's."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Rows of a split as the finished network sees them."""

    X: np.ndarray
    """(n, d) float32 features."""
    y: np.ndarray
    """(n,) codes."""
    logits: np.ndarray
    """(n, classes) float32."""

    def __len__(self) -> int:
        return len(self.X)


def tuned_model(
    network: Network,
    source: Source,
    train: Scored,
    validation: Scored,
    history: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> Model:
    """Return the network as a model, without its files; the backbone's weights are its own."""
    head = network.model
    temperature = fit_temperature(validation.logits, validation.y)
    digest = identity.weights_digest(network.built.model)
    own = digest != head.recipe.weights_digest
    return replace(
        head,
        kind="finetuned",
        scorer=network.scorer() if settings["kept"] != "head" else head.scorer,
        temperature=temperature,
        novelty=Novelty.fit(lambda: [train], len(head.classes), lambda: [validation]),
        recipe=replace(head.recipe, weights_digest=digest),
        backbone={**head.backbone, "weights": BACKBONE} if own else head.backbone,
        metrics={
            "train": _measure(train, temperature),
            "validation": _measure(validation, temperature),
        },
        settings={
            **head.settings,
            "finetune": {**settings, "head_items_digest": head.store["items_digest"]},
            "before": dict(head.metrics),
        },
        **source.origin,
        history=(*head.history, *history),
        path=None,
        attachments={},
    )


def _measure(scored: Scored, temperature: float) -> dict[str, Any]:
    return {
        "rows": len(scored),
        "accuracy": judge(scored.logits, scored.y).accuracy,
        "log_loss": float(log_losses(softmax(scored.logits, temperature), scored.y).mean()),
    }


def publish(
    network: Network,
    model: Model,
    out: Path,
    probes: Rows,
    validation: Scored,
    before: Mapping[str, float],
    weights: str | Path | None,
) -> Model:
    """Write a model with its files, whole, once the joined model gives what the network gives.

    Args:
        network: The network as it is now.
        model: As `tuned_model` gave it.
        out: The folder.
        probes: Validation rows, with `validation` in the same order.
        validation: What the network gives for them.
        before: val_accuracy and val_loss of the head.
        weights: Where the backbone's weights file is now, if it is not where it was.

    Raises:
        FinetuneError: If the joined model gives something else.
        ModelError: If something else has that path, or the disk refuses.
    """
    with tempfile.TemporaryDirectory(prefix="headstart-") as scratch:
        files: dict[str, Path] = {}
        if model.backbone["weights"] == BACKBONE:
            files[BACKBONE] = Path(scratch, BACKBONE)
            keras_weights.save_arrays(network.built.model, files[BACKBONE])
        model = replace(model, attachments=dict(files))
        joined = joining.join(model, weights=None if files else weights)
        _check_joined(joined, model, probes, validation)
        files[JOINED] = Path(scratch, JOINED)
        joined.save(files[JOINED])
        head_rows = [row for row in model.history if row["stage"] != "finetune"]
        tuned_rows = [row for row in model.history if row["stage"] == "finetune"]
        for name, data in curves.draw(head_rows, tuned_rows, before).items():
            files[name] = Path(scratch, name)
            files[name].write_bytes(data)
        return save(replace(model, attachments=files), out)


def _check_joined(joined: Any, model: Model, rows: Rows, scored: Scored) -> None:
    expected = softmax(scored.logits[:PROBES], model.temperature)
    pictures = [pixels.decode(read(), model.recipe.pixels).pixels for read in rows.readers[:PROBES]]
    found = np.concatenate([joined.predict_on_batch(picture[None]) for picture in pictures])
    if not (apart := float(np.abs(found - expected).max())) <= PROBABILITIES:
        raise FinetuneError(
            f"The joined model's probabilities differ from the network's by {apart:.1e}, at most "
            f"{PROBABILITIES:.0e} was expected. Nothing was written; give --precision float32"
        )
