"""What decides a feature's value, and the key that names it.

A recipe holds all that decides the *value* of a feature and nothing that decides only speed
(batch size, workers, shard format) or what is *kept* (columns). Two stores can share features
exactly when their recipe keys are equal.

This module knows JSON and SHA-256; it knows nothing of Keras, images or disks.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self, get_args

from extract.errors import InputError, StoreFormatError

RECIPE_VERSION = 1

Interpolation = Literal["bilinear", "nearest", "bicubic"]
Pooling = Literal["avg", "max", "flatten", "none", "cls", "patches"]
DType = Literal["float32", "float16"]
Precision = Literal["float32", "bfloat16"]


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
)


def canonical_json(value: object) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, ASCII, no NaN."""
    return _CANONICAL.encode(value)


def digest_json(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of `value`, 64 hex characters."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise `InputError` unless `value` is one of `allowed`."""
    if value not in allowed:
        option = "--" + name.replace("_", "-")
        raise InputError(f"{option} is one of {', '.join(allowed)}. Received: {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelPolicy:
    """How the bytes of an image become float32 pixels; the words are those of Keras' `Resizing`."""

    image_size: int = 224
    """Side of the square that the backbone sees, in pixels, 8 to 4096."""
    interpolation: Interpolation = "bilinear"
    """Kernel of the resize, on half-pixel centers."""
    antialias: bool = False
    """Whether the kernel widens when the image shrinks."""
    crop_to_aspect_ratio: bool = False
    """Crop the longer side to a centered square before resizing."""
    pad_to_aspect_ratio: bool = False
    """Pad the shorter side with zeros to a square before resizing."""
    exif_orientation: bool = True
    """Turn the picture as its EXIF tag says."""

    def __post_init__(self) -> None:
        one_of("interpolation", self.interpolation, get_args(Interpolation))
        if not 8 <= self.image_size <= 4096:
            raise InputError(f"--image-size is 8 to 4096 pixels. Received: {self.image_size}")
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise InputError(
                "Give one of --crop-to-aspect-ratio and --pad-to-aspect-ratio. Received: both"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What the graph does to pixels in 0..255 first: `pixels[..., ::-1 if flip] * scale + offset`.

    Three numbers each, for the channels in the order after the flip.
    """

    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    flip: bool = False
    """Whether RGB becomes BGR before the scaling."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tuple(float(x) for x in self.scale))
        object.__setattr__(self, "offset", tuple(float(x) for x in self.offset))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides the value of a feature.

    Digests go by position and content, never by the names that Keras gives layers, and never
    by where a file lies; so a store still fits after a move, a rename or a Keras upgrade that
    changes no number.
    """

    graph_digest: str
    """SHA-256 of the backbone's operations, 64 hex characters (`extract.identity`)."""
    weights_digest: str
    """SHA-256 of the backbone's variables in order, 64 hex characters."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the backbone that differ from its defaults, such as {"alpha": 0.35}."""
    pixels: PixelPolicy = field(default_factory=PixelPolicy)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    precision: Precision = "float32"
    """Type that the forward pass computes in; the type on disk is the column's."""
    signature: Mapping[str, str] | None = None
    """Numeric signature of the engine; only where precision is not float32."""
    version: int = RECIPE_VERSION

    def __post_init__(self) -> None:
        one_of("precision", self.precision, get_args(Precision))
        if (self.precision == "float32") != (self.signature is None):
            raise ValueError("A recipe names its signature exactly when it is not float32.")

    @property
    def key(self) -> str:
        """SHA-256 of the canonical JSON, 64 hex characters; golden tests pin it."""
        return digest_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return {
            "version": self.version,
            "graph_digest": self.graph_digest,
            "weights_digest": self.weights_digest,
            "arguments": dict(self.arguments),
            "pixels": asdict(self.pixels),
            "preprocessing": {
                "scale": list(self.preprocessing.scale),
                "offset": list(self.preprocessing.offset),
                "flip": self.preprocessing.flip,
            },
            "precision": self.precision,
            "signature": None if self.signature is None else dict(self.signature),
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            StoreFormatError: If a field is missing, unknown, or of a newer version.
        """
        try:
            fields = dict(facts)
            if fields["version"] != RECIPE_VERSION:
                raise StoreFormatError(
                    f"The recipe has version {fields['version']}, this headstart reads "
                    f"{RECIPE_VERSION}. Upgrade: pip install --upgrade headstart"
                )
            fields["pixels"] = PixelPolicy(**fields["pixels"])
            fields["preprocessing"] = Preprocessing(**fields["preprocessing"])
            return cls(**fields)
        except (KeyError, TypeError, InputError) as error:
            raise StoreFormatError(f"The recipe cannot be read: {error}") from error


def differences(stored: Recipe, wanted: Recipe) -> list[tuple[str, Any, Any]]:
    """Return (field, stored value, wanted value) of every field that differs.

    Fields that users set come before digests, because they say why a digest differs.
    """
    a, b = _flat(stored.to_json()), _flat(wanted.to_json())
    names = sorted(a.keys() | b.keys(), key=lambda name: (name.endswith("digest"), name))
    return [(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)]


def first_difference(stored: Recipe, wanted: Recipe) -> tuple[str, Any, Any] | None:
    """Return the first of `differences`, or None where there is none."""
    return next(iter(differences(stored, wanted)), None)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One kept array of features: a layer output, how it is pooled, which view, which type."""

    operation: int
    """Position of the operation in the backbone's topological order; in a frozen graph a number
    made of its name, which is part of the graph's file."""
    layer: str
    """Its name in a fresh process: for people, not part of the column's identity."""
    pooling: Pooling = "avg"
    view: int = 0
    """Which version of an image; 0 is the plain one."""
    dtype: DType = "float32"
    """Type on disk."""
    augment: str = ""
    """What the views other than 0 are made by, as `Augmentation.canonical`; empty for view 0."""

    def __post_init__(self) -> None:
        one_of("pooling", self.pooling, get_args(Pooling))
        one_of("dtype", self.dtype, get_args(DType))
        if self.view < 0 or (self.view == 0) != (self.augment == ""):
            raise InputError(
                f"View 0 is plain and all others are augmented. Received: view {self.view} "
                f"made by {self.augment!r}"
            )

    @property
    def canonical(self) -> str:
        """The text that stands for this column in digests.

        Such as "153:avg:0:float32", or "153:avg:1:float32:flip=horizontal,crop=0.8".
        """
        plain = f"{self.operation}:{self.pooling}:{self.view}:{self.dtype}"
        return f"{plain}:{self.augment}" if self.view else plain

    @property
    def name(self) -> str:
        """The text that users type and read: "out_relu:avg", or "out_relu:avg:float16:view1".

        A store has views of one augmentation, which `title` names besides.
        """
        dtype = "" if self.dtype == "float32" else f":{self.dtype}"
        return f"{self.layer}:{self.pooling}{dtype}{self._view}"

    @property
    def title(self) -> str:
        """The name, with the augmentation of a view: for messages about several stores."""
        return f"{self.name} ({self.augment})" if self.view else self.name

    @property
    def short_names(self) -> tuple[str, str]:
        """Shorter texts that stand for it where no other column has them."""
        return f"{self.layer}{self._view}", f"{self.layer}:{self.pooling}{self._view}"

    @property
    def plain(self) -> Column:
        """The same column of the plain picture."""
        return replace(self, view=0, augment="")

    @property
    def _view(self) -> str:
        return f":view{self.view}" if self.view else ""

    def to_json(self) -> dict[str, Any]:
        """Return the column as JSON values."""
        facts = asdict(self)
        if not self.augment:  # as columns were written before there were views
            del facts["augment"]
        return facts


@dataclass(frozen=True, slots=True)
class LayerRequest:
    """What a user asks to keep: `NAME[:POOLING]`; the last map averaged where both are None."""

    layer: str | None = None
    pooling: Pooling | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "block_15_add:max" or "out_relu".

        Raises:
            InputError: If the pooling is unknown.
        """
        match = re.fullmatch(r"([^:].*?)(?::([^:]*))?", text)
        if match is None:
            raise InputError(f"--layer takes NAME or NAME:POOLING. Received: {text!r}")
        layer, pooling = match.groups()
        if pooling is not None:
            one_of("layer NAME:POOLING", pooling, get_args(Pooling))
        return cls(layer, pooling)  # type: ignore[arg-type]
