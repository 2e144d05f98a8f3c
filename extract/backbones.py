"""The catalogue of backbones by name: what each takes, gives and weighs, without a framework.

`backbones.json` holds one entry for each model of `keras.applications`, and one for the small
backbone of our own, "digits"; `scripts/make_backbone_table.py` builds them all and writes it.

This module knows names, numbers and files. `extract.keras_graph` builds what is named here.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

from extract.backbone_files import OWN, Kind, file_kind, located
from extract.errors import BackboneError, InputError
from extract.preprocessing import MODES, Mode, parse_preprocessing

Argument = int | float | str | bool

DEFAULT_BACKBONE = "mobilenet_v2"

REFUSED_ARGUMENTS: Mapping[str, str] = MappingProxyType(
    {
        "include_top": "features are taken below the classifier",
        "weights": "give --weights",
        "input_shape": "give --image-size",
        "input_tensor": "the graph starts at the pixels",
        "pooling": "give --layer NAME:POOLING",
        "classes": "features are taken below the classifier",
        "classifier_activation": "features are taken below the classifier",
        "name": "names decide no feature",
        "include_preprocessing": "the graph always takes pixels in 0..255",
    }
)
"""Arguments of `keras.applications` that are not the user's to give, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneEntry:
    """What is known of a backbone before it is built, at its default arguments."""

    name: str
    """Snake case, such as "mobilenet_v2"."""
    class_name: str
    """What builds it: a name in `keras.applications`, such as "MobileNetV2", or in `module`."""
    module: str
    """Where its `preprocess_input` is, such as "keras.applications.mobilenet_v2"."""
    image_size: int
    """Side of the images that it was made for, in pixels."""
    features: int
    """Channels of the last map."""
    parameters: int
    """Numbers in its weights, without the classifier."""
    preprocessing: Mode
    """What its `preprocess_input` does; "none" where scaling is inside the model."""
    arguments: Mapping[str, Argument]
    """Arguments that users may give, with their defaults."""
    default_weights: Literal["imagenet", "embedded", "own"]
    """"embedded" for weights that come inside this package, "own" for a backbone that is a file."""
    weights_file: str
    """File of the default weights, without the classifier."""
    weights_url: str | None
    """Where Keras downloads `weights_file` from; None if it is embedded."""
    variants: tuple[str, ...] = ()
    """Files that other arguments or image sizes load instead of `weights_file`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """What a user asks for: a backbone, its arguments, and where its weights come from.

    Raises:
        BackboneError: If there is no such backbone, or an argument is refused or unknown.
        InputError: If the preprocessing cannot be read.
    """

    name: str = DEFAULT_BACKBONE
    """A name of the catalogue, or a file: see `extract.backbone_files`."""
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    """Arguments for its builder, such as {"alpha": 0.35}."""
    weights: str = "imagenet"
    """"imagenet" (the catalogue's default weights), "random" (seeded), or a path; "own" for a
    backbone that is a file."""
    preprocessing: str | None = None
    """What is done to pixels for a backbone that is a file: see `parse_preprocessing`."""

    def __post_init__(self) -> None:
        if self.kind == "catalogue":
            item = entry(self.name)
            checked = {name: _checked(item, name, value) for name, value in self.arguments.items()}
            object.__setattr__(self, "arguments", checked)
        else:
            self._check_file()
        if self.preprocessing is not None:
            self._check_preprocessing(self.preprocessing)

    def _check_file(self) -> None:
        object.__setattr__(self, "name", located(self.name))
        if self.arguments:
            raise BackboneError(
                f"{self.name} takes no arguments. Received: {', '.join(self.arguments)}"
            )
        if self.weights not in ("imagenet", OWN):
            raise BackboneError(
                f"The weights of {self.name} are its own: leave --weights out. "
                f"Received: {self.weights}"
            )
        object.__setattr__(self, "weights", OWN)
        if self.kind == "graph" and self.preprocessing is None:
            raise BackboneError(
                f"{self.name} does not say what it expects of pixels. Give --preprocessing {MODES}"
            )

    def _check_preprocessing(self, text: str) -> None:
        if self.kind in ("catalogue", "hub"):
            raise BackboneError(
                f"{self.name} brings its own preprocessing: leave --preprocessing out. "
                f"Received: {text}"
            )
        parse_preprocessing(text)

    @property
    def kind(self) -> Kind:
        """Whether it is of the catalogue, or which kind of file."""
        return kind_of(self.name)

    @property
    def title(self) -> str:
        """What people call it: its name, or that of its file."""
        return self.name if self.kind == "catalogue" else Path(self.name).name

    @property
    def changed_arguments(self) -> dict[str, Argument]:
        """The arguments that differ from their defaults; these belong into a recipe."""
        known = entry(self.name).arguments if self.arguments else {}
        return {name: value for name, value in self.arguments.items() if value != known[name]}

    @property
    def locators(self) -> dict[str, Any]:
        """Say it as JSON values; `located_at` reads them."""
        facts = {"name": self.name, "arguments": dict(self.arguments), "weights": self.weights}
        return (
            facts if self.preprocessing is None else facts | {"preprocessing": self.preprocessing}
        )

    @classmethod
    def located_at(cls, locators: Mapping[str, Any], weights: str | None = None) -> Self:
        """Read what `locators` wrote.

        Args:
            locators: What a store or a model says of its backbone.
            weights: Where the file with the weights is now, if it is not where it was: of a
                backbone that is a file, the file itself.
        """
        facts = dict(locators)
        if weights is not None:
            facts["name" if facts["weights"] == OWN else "weights"] = weights
        return cls(**facts)


def _checked(item: BackboneEntry, name: str, value: Argument) -> Argument:
    """Return `value` in the type that argument `name` of `item` has, or raise BackboneError."""
    if name in REFUSED_ARGUMENTS:
        raise BackboneError(
            f"Argument {name} of {item.name} cannot be set: {REFUSED_ARGUMENTS[name]}."
        )
    if name not in item.arguments:
        takes = ", ".join(f"{key}={default}" for key, default in item.arguments.items())
        raise BackboneError(
            f"{item.name} takes {takes or 'no arguments'}. Received: {name}={value}"
        )
    kind = type(item.arguments[name])
    if kind is float and type(value) is int:
        return float(value)  # MobileNetV3 names its weights file by str(alpha)
    if type(value) is not kind:
        raise BackboneError(
            f"Argument {name} of {item.name} is of type {kind.__name__}, such as "
            f"{item.arguments[name]}. Received: {value!r}"
        )
    return value


@cache
def catalogue() -> Mapping[str, BackboneEntry]:
    """Return every entry by its name, sorted."""
    text = Path(__file__).with_name("backbones.json").read_text(encoding="utf-8")
    entries = [
        BackboneEntry(**{**facts, "variants": tuple(facts["variants"])})
        for facts in json.loads(text)
    ]
    return MappingProxyType({item.name: item for item in entries})


def kind_of(name: str) -> Kind:
    """Tell whether a backbone is of the catalogue, or which kind of file."""
    return "catalogue" if name in catalogue() else file_kind(name)


def entry(name: str) -> BackboneEntry:
    """Return the entry called `name`.

    Raises:
        BackboneError: If there is none; the message names the nearest ones.
    """
    known = catalogue()
    if name in known:
        return known[name]
    if Path(name).suffix in (".h5", ".hdf5"):
        raise BackboneError(
            f"{name} has Keras' older format, which may hold code and is not read. Where you trust "
            f"it: keras.models.load_model({Path(name).name!r}).save('model.keras'), then "
            f"--backbone model.keras. Weights alone of a known backbone: --weights {name}"
        )
    near = nearest(name, known)
    question = f": did you mean {', '.join(near)}?" if near else "."
    raise BackboneError(
        f"unknown backbone {name!r}{question} `python -m extract backbones` lists all."
    )


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.8) -> list[str]:
    """Return up to three of `known` that `name` may stand for, likeliest first.

    Case, dashes and underscores do not count: "ResNet50V2" stands for resnet50_v2 alone.
    `likeness` is the lowest `difflib` ratio, 0 to 1.
    """
    plain = {_plain(item): item for item in known}
    if _plain(name) in plain:
        return [plain[_plain(name)]]
    return [plain[match] for match in difflib.get_close_matches(_plain(name), plain, 3, likeness)]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def parse_arguments(texts: Iterable[str]) -> dict[str, Argument]:
    """Read arguments of a backbone as they are typed, such as ["alpha=0.35"].

    Returns:
        Values by name: int, float, bool ("true" or "false" in any case), else str.

    Raises:
        InputError: If a text is not NAME=VALUE, or a name comes twice.
    """
    arguments: dict[str, Argument] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not (equals and name.isidentifier() and value.strip()):
            raise InputError(
                f"An argument of a backbone is NAME=VALUE, such as alpha=0.35. Received: {text!r}"
            )
        if name in arguments:
            raise InputError(f"Argument {name} of the backbone is given twice. Received: {text!r}")
        arguments[name] = _value(value.strip())
    return arguments


def _value(text: str) -> Argument:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def keras_home() -> Path:
    """Return the folder where Keras keeps what it downloads; weights lie in its `models`."""
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(home).expanduser()


def weights_state(item: BackboneEntry) -> Literal["yes", "variant", "no"]:
    """Tell whether `item` can be built here without a network.

    Returns:
        "yes" if its default weights are at hand, "variant" if only those of other arguments
        or image sizes are, else "no".
    """
    if item.default_weights == "embedded":
        return "yes" if Path(__file__).with_name(item.weights_file).is_file() else "no"
    folder = keras_home() / "models"
    if (folder / item.weights_file).is_file():
        return "yes"
    return "variant" if any((folder / name).is_file() for name in item.variants) else "no"
