"""The augmentation grammar: the one text that extract and finetune read.

    flip[=horizontal|vertical|horizontal_and_vertical]   mirrored, with probability 1/2
    rotation=0.1      by an angle within -0.1 .. 0.1 of a full turn
    zoom=0.2          side of what is shown: 0.8 .. 1.2 of the picture's
    translation=0.1   moved by -0.1 .. 0.1 of the side, down and to the right
    crop=0.8          a window of 0.8 of the side, anywhere, resized to the full side
    contrast=0.2      distance of each channel to its mean: times 0.8 .. 1.2
    brightness=0.2    plus -0.2 .. 0.2 of 255

Such as "flip,rotation=0.1,crop=0.8": operations are done from left to right. The words are those
of `keras.layers.Random*`, and `Operation.keras_layers` says which layers an operation is. Every
parameter is drawn uniformly, one from the other independent (`Operation.draws`).

This module knows names and numbers. `extract.views` runs an augmentation on pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

from extract.backbones import nearest
from extract.errors import InputError

FlipMode = Literal["horizontal", "vertical", "horizontal_and_vertical"]
Name = Literal["flip", "rotation", "zoom", "translation", "crop", "contrast", "brightness"]

NAMES: tuple[str, ...] = get_args(Name)

FLIP_PROBABILITY = 0.5

GREY_LEVELS = 255.0
"""Pixels are in 0 .. GREY_LEVELS."""

BELOW_ONE = ("zoom", "crop")
"""Operations for which 1 makes no sense: a zoom into a single point, a crop to everything."""

_LAYERS: Mapping[str, str] = MappingProxyType(
    {
        "flip": "RandomFlip",
        "rotation": "RandomRotation",
        "zoom": "RandomZoom",
        "translation": "RandomTranslation",
        "crop": "RandomCrop",
        "contrast": "RandomContrast",
        "brightness": "RandomBrightness",
    }
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One random change of a picture, such as `rotation=0.1`.

    Raises:
        InputError: If the name is unknown, or the value is not one that it takes.
    """

    name: Name
    value: float | FlipMode
    """A mode for flip; for all others a number above 0 and up to 1."""

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            near = nearest(self.name, NAMES, likeness=0.5)
            meant = f": did you mean {' or '.join(near)}?" if near else "."
            raise InputError(f"Unknown augmentation {self.name!r}{meant} Known: {', '.join(NAMES)}")
        if self.name == "flip":
            _check_flip(self.value)
        else:
            object.__setattr__(self, "value", _checked_number(self.name, self.value))

    @property
    def canonical(self) -> str:
        """The one text of this operation, such as "flip=horizontal" or "rotation=0.1"."""
        return f"{self.name}={self.value}"

    @property
    def draws(self) -> Mapping[str, tuple[float, float]]:
        """What is drawn for a picture: parameter → (low, high), uniform and independent.

        flip         flip: mirrored where it is at most FLIP_PROBABILITY; one draw for both axes
        rotation     angle: degrees, counterclockwise where positive
        zoom         zoom: side of what is shown, in sides of the picture, the same for both axes
        translation  down, right: in sides of the picture
        crop         top, left: share of the free places of the window (`crop_start`)
        contrast     contrast: factor on each channel's distance to its mean
        brightness   brightness: grey levels that are added
        """
        if isinstance(self.value, str):
            return {"flip": (0.0, 1.0)}
        x = self.value
        ranges: dict[str, dict[str, tuple[float, float]]] = {
            "rotation": {"angle": (-360.0 * x, 360.0 * x)},
            "zoom": {"zoom": (1.0 - x, 1.0 + x)},
            "translation": {"down": (-x, x), "right": (-x, x)},
            "crop": {"top": (0.0, 1.0), "left": (0.0, 1.0)},
            "contrast": {"contrast": (1.0 - x, 1.0 + x)},
            "brightness": {"brightness": (-GREY_LEVELS * x, GREY_LEVELS * x)},
        }
        return ranges[self.name]

    def keras_layers(self, size: int) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """Return the Keras layers that do this to pictures (size, size, 3) in 0..255.

        Returns:
            (class in `keras.layers`, its arguments without seed and dtype), in their order. What
            is not named has Keras' default: reflected edges and bilinear interpolation.
        """
        layer, x = _LAYERS[self.name], self.value
        if self.name == "crop":
            side = self.crop_side(size)
            window, full = {"height": side, "width": side}, {"height": size, "width": size}
            return (layer, window), ("Resizing", full)
        arguments: Mapping[str, Any] = {"factor": x}
        if self.name == "flip":
            arguments = {"mode": x}
        elif self.name == "zoom":
            arguments = {"height_factor": x}
        elif self.name == "translation":
            arguments = {"height_factor": x, "width_factor": x}
        elif self.name == "contrast":
            # A single number should mean (x, x), say Keras' docs; Keras 3.15 makes (0, x) of it.
            arguments = {"factor": (x, x)}
        return ((layer, arguments),)

    def crop_side(self, size: int) -> int:
        """Return the side of the window of a crop in a picture of side `size`, in pixels."""
        return max(1, round(float(self.value) * size))


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Operations on a picture, from left to right.

    Raises:
        InputError: If there is none, or one comes twice.
    """

    operations: tuple[Operation, ...]

    def __post_init__(self) -> None:
        names = [operation.name for operation in self.operations]
        if not names:
            raise InputError(f"--augment names at least one of {', '.join(NAMES)}. Received: none")
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise InputError(f"--augment takes each operation once. Received twice: {twice[0]}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "flip,rotation=0.1,crop=0.8".

        Raises:
            InputError: If a name or a value is unknown; the message says what is known.
        """
        parts = [part.strip() for part in text.split(",")] if text.strip() else []
        return cls(tuple(map(_parse_operation, parts)))

    @property
    def canonical(self) -> str:
        """The one text of this augmentation, with every value; `parse` reads it back."""
        return ",".join(operation.canonical for operation in self.operations)

    def keras_layers(self, size: int) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """Return `Operation.keras_layers` of all operations, in their order."""
        return tuple(layer for op in self.operations for layer in op.keras_layers(size))


def crop_start(share: float, size: int, side: int) -> int:
    """Return where a window of `side` begins in `size` pixels, for a share drawn in [0, 1).

    All size - side + 1 places are equally likely.
    """
    return min(int(share * (size - side + 1)), size - side)


def _parse_operation(text: str) -> Operation:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not name:
        raise InputError(
            f"--augment is such as flip,rotation=0.1. Received an empty part: {text!r}"
        )
    if name == "flip" and not equals:
        return Operation("flip", "horizontal")
    if name in NAMES and not value:
        example = "horizontal" if name == "flip" else 0.8 if name == "crop" else 0.1
        raise InputError(f"Augmentation {name} takes a value, such as {name}={example}")
    return Operation(name, value)  # type: ignore[arg-type]


def _check_flip(value: object) -> None:
    modes = get_args(FlipMode)
    if value not in modes:
        near = nearest(str(value), modes, likeness=0.5)
        meant = f": did you mean {near[0]}?" if near else ""
        raise InputError(f"flip is one of {', '.join(modes)}. Received: {value!r}{meant}")


def _checked_number(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number <= 1 or (name in BELOW_ONE and number == 1):
        top = "below 1" if name in BELOW_ONE else "at most 1"
        raise InputError(f"{name} is a number above 0 and {top}. Received: {value!r}")
    return number
