"""A store and a head → a fine-tuned model: the road, joined here and nowhere else.

rows, head ─▶ network ─▶ for each --unfreeze: plan ─▶ mode ─▶ train ─▶ judge on the full graph
           ─▶ the best of them, or the head ─▶ model folder
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extract import places
from extract.progress import Reporter, Silent
from extract.recipe import digest_json
from extract.store.files import disk_errors
from finetune import freezing
from finetune.choosing import Choice, choose
from finetune.errors import FinetuneError, TrainingError
from finetune.feeds import Feeds
from finetune.freezing import FreezePlan
from finetune.guard import assign, values_of
from finetune.interpolation import best_share, between
from finetune.judging import Judgment
from finetune.memory import naming_memory
from finetune.network import check_head, open_network
from finetune.options import Options, check_tensorboard
from finetune.quiet import quiet_keras
from finetune.rows import beside, open_rows
from finetune.writing import publish, tuned_model
from heads.model import Model
from heads.model_folder import check_place, load
from heads.opening import check_no_model
from heads.optimizers import optimizer_name

if TYPE_CHECKING:
    from finetune.training import OnStep, Trained


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What one `--unfreeze` came to; a line of the table that compares them."""

    unfreeze: str
    mode: str
    why: str
    """Why this mode."""
    kept: str
    """"head", "tuned" or "interpolated"."""
    validation_accuracy: float
    """Of what is kept, on the full graph."""
    validation_loss: float
    best_epoch: int
    epochs: int
    epoch_seconds: float
    """Median over the epochs; 0.0 where none ended."""
    trainable_weights: int
    """Variables that train, those of the head among them."""
    share: float | None
    """Of the tuned weights, where weights are interpolated."""
    activation_error: float | None
    """How far kept activations are from float32, relative; None in full mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run came to; `--json` prints its fields."""

    model: str
    store: str
    head: str
    unfreeze: str
    head_validation_accuracy: float
    """On the full graph, as `validation_accuracy`, whatever the mode trains on."""
    validation_accuracy: float
    epoch_seconds: float
    mode: str
    why: str
    trainable_weights: int
    kept: str
    best_epoch: int
    share: float | None
    activation_error: float | None
    extraction_seconds: float
    """What extracting activations took, of all attempts together."""
    decoding_seconds: float
    """What decoding images into the cache took: in suffix mode too, whose result is judged from
    pixels on."""
    attempts: tuple[Mapping[str, Any], ...]
    """One per --unfreeze, in their order."""
    seconds: float
    """Of the whole run."""


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    attempt: Attempt
    head: Judgment
    """Of the head, on the full graph as all that it is compared with."""
    judgment: Judgment
    variables: list[Any]
    weights: list[np.ndarray]
    trained: Trained
    plan: FreezePlan


def run(
    store: str | Path,
    head: str | Path | Model | None = None,
    out: str | Path | None = None,
    *,
    unfreeze: str | Sequence[str] = (),
    images: str | Path | None = None,
    weights: str | Path | None = None,
    reporter: Reporter | None = None,
    on_step: OnStep | None = None,
    **options: Any,
) -> Summary:
    """Fine-tune a head with its backbone, and write a model that is never worse on validation.

    Args:
        store: The store that the head was trained on. Its splits are used as they are.
        head: A model, or its folder; `photos.head` for `photos.features` by default.
        out: The model's folder; `photos.tuned` by default. Replaced, whole, at the end.
        unfreeze: What trains of the backbone, such as "from:block_16" or "20%". Several are tried
            from the same head, and the best on validation is kept.
        images: Where the store's images are now, if they are not where they were.
        weights: Where the backbone's weights file is now, if it is not where it was.
        reporter: Hears sentences for people.
        on_step: Hears the loss of each step.
        **options: Fields of `finetune.options.Options`.

    Returns:
        What came of it.

    Raises:
        HeadstartError: With one line that says what to do. Where training had to stop, what was
            best until then is at `out`.
    """
    begun = time.perf_counter()
    reporter = Silent() if reporter is None else reporter
    wanted = [unfreeze] if isinstance(unfreeze, str) else list(unfreeze)
    settings = Options(**options)
    if settings.tensorboard is not None:
        check_tensorboard()
    texts = list(dict.fromkeys(wanted or [settings.unfreeze]))
    check_no_model(store)  # whose head would be looked for as photos.head.head
    model = head if isinstance(head, Model) else load(head or beside(store, ".head"))
    target = Path(out) if out is not None else beside(store, ".tuned")
    check_place(target)
    with naming_memory(settings.batch_size, settings.cache_memory):
        session = _Session(model, Path(store), target, settings, images, weights, reporter, on_step)
        with session.feeds:
            outcomes = session.attempts(texts)
            best = max(outcomes, key=lambda outcome: outcome.judgment)
            written = session.publish(best, outcomes)
    troubles = [o.trained.trouble for o in outcomes if o.trained.trouble]
    if troubles:
        raise TrainingError(f"{troubles[0]}. What was best is kept: {target}")
    session.forget()
    return _summary(written, session, best, outcomes, time.perf_counter() - begun)


class _Session:
    """What the attempts of a run share: rows, network, decoded images, caches."""

    def __init__(
        self,
        model: Model,
        store: Path,
        target: Path,
        options: Options,
        images: str | Path | None,
        weights: str | Path | None,
        reporter: Reporter,
        on_step: OnStep | None,
    ) -> None:
        if model.kind == "finetuned":
            raise FinetuneError(
                f"{model.path} is fine-tuned already. Start from its head: give --head "
                f"{beside(store, '.head')}"
            )
        source, train, validation = open_rows(model, store, images)
        if source.snapshot.items_digest != model.store["items_digest"]:
            reporter.note(
                f"Images, labels or splits of {source.snapshot.path} are not those that the head "
                f"was trained with; none that it was trained on is a validation row now"
            )
        self.model, self.target, self.options = model, target, options
        self.source, self.reporter, self.weights = source, reporter, weights
        self.on_step = on_step
        quiet_keras()
        optimizer_name(options.optimizer)  # an unknown one is told before minutes of work
        self.network = open_network(model, weights)
        check_head(self.network, source.load("validation").X)
        self.layers = freezing.layers_of(self.network.built)
        self.validation = validation
        self.feeds = Feeds(
            self.network, options, train, validation, places.beside(store), weights, reporter
        )
        self.start = values_of(self._everything())

    @property
    def work(self) -> Path:
        """Folder of what a resume needs, beside the model."""
        return self.target.with_name(f".{self.target.name}.training")

    def forget(self) -> None:
        """Remove what a resume would need."""
        shutil.rmtree(self.work, ignore_errors=True)

    def attempts(self, texts: Sequence[str]) -> list[_Outcome]:
        """Try each `--unfreeze` from the same head, until one has to stop."""
        plans = [freezing.make_plan(self.layers, text) for text in texts]
        outcomes = []
        for number, plan in enumerate(plans, 1):
            assign(self._everything(), self.start)
            freezing.apply(self.network, plan)
            which = f"Plan {number} of {len(plans)}: " if len(plans) > 1 else ""
            self.reporter.note(which + plan.describe())
            options = self.options
            if options.tensorboard is not None and len(plans) > 1:  # one folder is one curve
                folder = options.tensorboard / plan.unfreeze.replace(":", "-")
                options = replace(options, tensorboard=folder)
            outcomes.append(self._attempt(plan, options))
            if outcomes[-1].trained.trouble:
                break
        return outcomes

    def _attempt(self, plan: FreezePlan, options: Options) -> _Outcome:
        from finetune.training import train  # Keras' callbacks are classes of it

        choice = self._begun(plan, options) or choose(self.feeds, plan, options)
        self.reporter.note(f"Mode {choice.mode}: {choice.why}")
        feed = self.feeds.feed(choice)
        folder = self._folder(plan, choice.mode, options)
        with disk_errors("what training keeps", "--out"):
            trained = train(self.network, plan, options, feed, folder, self.reporter, self.on_step)
        error = self.feeds.check_joined(choice)
        return self._judged(plan, choice, trained, error)

    def _folder(self, plan: FreezePlan, mode: str, options: Options) -> Path:
        """Return where a training keeps its state."""
        items = self.source.snapshot.items_digest
        return self.work / _fingerprint(self.model, items, plan, mode, options)

    def _begun(self, plan: FreezePlan, options: Options) -> Choice | None:
        """Return the mode of the run that this one resumes: a probe may come out otherwise now."""
        for mode in ("suffix", "full"):
            if options.mode == "auto" and self._folder(plan, mode, options).is_dir():
                choice = choose(self.feeds, plan, replace(options, mode=mode))
                return replace(choice, why="as the run before, which goes on")
        return None

    def _judged(
        self, plan: FreezePlan, choice: Choice, trained: Trained, error: float | None
    ) -> _Outcome:
        """Decide on the full graph between the head, the tuned weights and what lies between."""
        guard, head = trained.guard, self.feeds.head_judgment(self.start, self._everything())
        kept, share, judgment, weights = "head", None, head, guard.start
        if guard.weights:  # the mode judged them, perhaps on float16 activations
            found = self._judge(trained.variables, guard.weights)
            if found.beats(head):
                kept, judgment, weights = "tuned", found, guard.weights
        if self.options.wise_ft and guard.weights:
            share, found = best_share(
                guard.start,
                guard.weights,
                lambda arrays: self._judge(trained.variables, arrays),
                judgment,
            )
            if share is not None:
                kept, judgment = "interpolated", found
                weights = between(guard.start, guard.weights, share)
        seconds = trained.epoch_seconds
        return _Outcome(
            Attempt(
                unfreeze=plan.unfreeze,
                mode=choice.mode,
                why=choice.why,
                kept=kept,
                validation_accuracy=judgment.accuracy,
                validation_loss=judgment.loss,
                best_epoch=0 if kept == "head" else guard.epoch,
                epochs=len(guard.history),
                epoch_seconds=round(statistics.median(seconds), 3) if seconds else 0.0,
                trainable_weights=trained.trainable_weights,
                share=share,
                activation_error=error,
            ),
            head,
            judgment,
            trained.variables,
            weights,
            trained,
            plan,
        )

    def _judge(self, variables: Sequence[Any], weights: Sequence[np.ndarray]) -> Judgment:
        assign(variables, weights)
        return self.feeds.judge_full()

    def _everything(self) -> list[Any]:
        """Return every variable of the backbone and the head."""
        return [*self.network.built.model.weights, *self.network.head.weights]

    def publish(self, best: _Outcome, outcomes: Sequence[_Outcome]) -> Model:
        """Write what the best attempt came to."""
        assign(self._everything(), self.start)
        assign(best.variables, best.weights)
        train, validation = self.feeds.scored()
        settings = {
            **asdict(best.attempt),
            "options": _json(self.options),
            "attempts": [asdict(outcome.attempt) for outcome in outcomes],
            "head": str(self.model.path or ""),
            "head_validation_accuracy": best.head.accuracy,
        }
        history = best.trained.guard.history
        model = tuned_model(self.network, self.source, train, validation, history, settings)
        before = {"val_accuracy": best.head.accuracy, "val_loss": best.head.loss}
        with disk_errors("the model", "--out"):
            return publish(
                self.network, model, self.target, self.validation, validation, before, self.weights
            )


def _fingerprint(model: Model, items: str, plan: FreezePlan, mode: str, options: Options) -> str:
    """Name all that decides a training, so that a resume goes on with nothing else."""
    facts = {
        "model": model.record,
        "items": items,
        "unfreeze": plan.unfreeze,
        "mode": mode,
        "options": _json(options),
    }
    return digest_json(facts)[:16]


def _json(options: Options) -> dict[str, Any]:
    """Return the options that decide a result, as JSON values."""
    facts = asdict(options)
    for name in ("tensorboard", "cache_memory", "mode"):
        del facts[name]
    return facts


def _summary(
    model: Model, session: _Session, best: _Outcome, outcomes: Sequence[_Outcome], seconds: float
) -> Summary:
    attempt = best.attempt
    return Summary(
        model=str(model.path),
        store=session.source.snapshot.path,
        head=str(session.model.path or ""),
        unfreeze=attempt.unfreeze,
        head_validation_accuracy=best.head.accuracy,
        validation_accuracy=attempt.validation_accuracy,
        epoch_seconds=attempt.epoch_seconds,
        mode=attempt.mode,
        why=attempt.why,
        trainable_weights=attempt.trainable_weights,
        kept=attempt.kept,
        best_epoch=attempt.best_epoch,
        share=attempt.share,
        activation_error=attempt.activation_error,
        extraction_seconds=round(session.feeds.extraction_seconds, 3),
        decoding_seconds=round(session.feeds.decoding_seconds, 3),
        attempts=tuple(asdict(outcome.attempt) for outcome in outcomes),
        seconds=round(seconds, 3),
    )
