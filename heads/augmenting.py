"""Augmentation of features: what a training batch becomes, anew at every step.

    noise:S        normal noise of S standard deviations of each feature
    mixup:A        each row is mixed with another, and its label too, by a share of Beta(A, A)
    brightness:V   a constant of up to V is added to each channel, another one for each
    contrast:V     each channel is stretched about its mean by 1 - V to 1 + V
    posterize:B    each channel keeps 8 bits less 0 to B of them

The last three take the features of an image to 0..1 by their least and greatest, clip there, and
take them back; values are drawn for each channel of each image. On a pooled column a channel is
one number: contrast then does nothing.

Source: Bär, Houlsby, Dehghani, Kumar, Frozen Feature Augmentation for Few-Shot Image
Classification, CVPR 2024 (the variant with a draw for each channel, cFroFA); Zhang, Cisse,
Dauphin, Lopez-Paz, mixup, ICLR 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from heads.errors import HeadError

LEVELS = 255


@dataclass(frozen=True, slots=True)
class Augmentation:
    """One step of an augmentation."""

    name: str
    strength: float


def parse(given: Any) -> tuple[Augmentation, ...]:
    """Return augmentations from "noise:0.1", a list of such words, or None for none.

    Raises:
        HeadError: If a word names no augmentation, or its number is out of range.
    """
    words = [] if given is None else [given] if isinstance(given, str) else list(given)
    return tuple(_parsed(word) for word in words)


def _parsed(word: Any) -> Augmentation:
    name, _, text = str(word).partition(":")
    if name not in MOST:
        raise HeadError(
            f"augment is made of {', '.join(MOST)}, such as noise:0.1. Received: {word!r}"
        )
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    if not 0 < strength <= MOST[name]:
        raise HeadError(
            f"{name} has a number above 0 and at most {MOST[name]:g}, such as {name}:"
            f"{MOST[name] / 10:g}. Received: {word!r}"
        )
    return Augmentation(name, strength)


def augmented(
    steps: tuple[Augmentation, ...], x: np.ndarray, channels: int, random: np.random.Generator
) -> np.ndarray:
    """Return features (b, d), as the backbone gives them, after brightness and the like.

    Args:
        steps: Those that are about standardized features are passed over.
        x: (b, d).
        channels: Of the map that a row holds, flattened channels last; d where it is pooled.
        random: What draws.
    """
    for step in steps:
        if step.name in STYLES:
            x = _styled(STYLES[step.name], step.strength, x, channels, random)
    return x


def _styled(
    style: Callable[[np.ndarray, float, np.random.Generator], np.ndarray],
    strength: float,
    x: np.ndarray,
    channels: int,
    random: np.random.Generator,
) -> np.ndarray:
    low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    span = np.where(high > low, high - low, 1)
    maps = ((x - low) / span).reshape(len(x), -1, channels)  # (b, positions, channels)
    styled = np.clip(style(maps, strength, random), 0, 1).reshape(x.shape)
    return (styled * span + low).astype(x.dtype)


def _draw(maps: np.ndarray, low: float, high: float, random: np.random.Generator) -> np.ndarray:
    shape = (len(maps), 1, maps.shape[2])
    return random.uniform(low, high, shape).astype(maps.dtype)


def _brightness(maps: np.ndarray, v: float, random: np.random.Generator) -> np.ndarray:
    return maps + _draw(maps, -v, v, random)


def _contrast(maps: np.ndarray, v: float, random: np.random.Generator) -> np.ndarray:
    mean = maps.mean(axis=1, keepdims=True)
    return (maps - mean) * _draw(maps, 1 - v, 1 + v, random) + mean


def _posterize(maps: np.ndarray, bits: float, random: np.random.Generator) -> np.ndarray:
    step = 2.0 ** np.floor(_draw(maps, 0, bits + 1, random))
    return np.floor(maps * LEVELS / step) * step / LEVELS


STYLES: Mapping[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "posterize": _posterize,
}
MOST = {"noise": 10.0, "mixup": 10.0, "brightness": 1.0, "contrast": 1.0, "posterize": 7.0}
"""Name of an augmentation → the greatest number that it has."""


def blurred(
    steps: tuple[Augmentation, ...],
    x: np.ndarray,
    targets: np.ndarray,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return standardized features (b, d) and soft labels (b, classes) after noise and mixup."""
    for step in steps:
        if step.name == "noise":
            x = x + (step.strength * random.standard_normal(x.shape)).astype(x.dtype)
        elif step.name == "mixup":
            share = random.beta(step.strength, step.strength, (len(x), 1))
            other = random.permutation(len(x))
            x = (share * x + (1 - share) * x[other]).astype(x.dtype)
            targets = share * targets + (1 - share) * targets[other]
    return x, targets
