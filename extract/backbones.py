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
from typing import Literal

from extract.errors import BackboneError, InputError
from extract.recipe import Preprocessing

Mode = Literal["tf", "torch", "caffe", "none"]
Argument = int | float | str | bool

DEFAULT_BACKBONE = "mobilenet_v2"

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB, in 0..1

PREPROCESSING: Mapping[Mode, Preprocessing] = MappingProxyType(
    {
        "none": Preprocessing(),
        "tf": Preprocessing(scale=(1 / 127.5,) * 3, offset=(-1.0,) * 3),
        "torch": Preprocessing(
            scale=tuple(1 / (255 * s) for s in _STD),  # type: ignore[arg-type]
            offset=tuple(-m / s for m, s in zip(_MEAN, _STD, strict=True)),  # type: ignore[arg-type]
        ),
        # Means of ImageNet in 0..255, BGR, as Caffe's models subtract them.
        "caffe": Preprocessing(offset=(-103.939, -116.779, -123.68), flip=True),
    }
)
"""What each mode of `keras.applications.imagenet_utils.preprocess_input` does to pixels."""

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
    default_weights: Literal["imagenet", "embedded"]
    """"embedded" for weights that come inside this package."""
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
        BackboneError: If the name is unknown, or an argument is refused or unknown.
    """

    name: str = DEFAULT_BACKBONE
    """A name of the catalogue."""
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    """Arguments for its builder, such as {"alpha": 0.35}."""
    weights: str = "imagenet"
    """"imagenet" (the catalogue's default weights), "random" (seeded), or a path."""

    def __post_init__(self) -> None:
        item = entry(self.name)
        checked = {name: _checked(item, name, value) for name, value in self.arguments.items()}
        object.__setattr__(self, "arguments", checked)

    @property
    def changed_arguments(self) -> dict[str, Argument]:
        """The arguments that differ from their defaults; these belong into a recipe."""
        known = entry(self.name).arguments
        return {name: value for name, value in self.arguments.items() if value != known[name]}


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


def entry(name: str) -> BackboneEntry:
    """Return the entry called `name`.

    Raises:
        BackboneError: If there is none; the message names the nearest ones.
    """
    known = catalogue()
    if name in known:
        return known[name]
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
