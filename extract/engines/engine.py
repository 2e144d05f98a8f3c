"""What an engine promises: the features of an image do not depend on its neighbors."""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from extract.errors import BackboneError

PARITY = 1e-5
"""Engines in float32 agree this far, relative to a feature's norm (2e-7 to 2e-6 measured)."""


class Engine(ABC):
    """A compiled backbone with its preprocessing and poolings."""

    signature: Mapping[str, str]
    """Engine, version, instruction family: within one signature, features agree bit for bit."""
    batch_size: int
    """Images per call that suit it best."""
    streams: int
    """How many threads may call it at once, and gain by it."""

    @abstractmethod
    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Return the columns of a batch.

        Args:
            pixels: (n, size, size, 3) float32 in 0..255, n at least 1.

        Returns:
            One (n, *row_shape) float32 array per column. Row i depends on image i alone: not
            on n, nor on the other images, to the bit.
        """


def instruction_family() -> str:
    """Return the widest vector instructions of this processor, such as "x86_64-avx512"."""
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as features
    except ImportError:  # a private name of NumPy's: the machine alone is coarser, never wrong
        features = {}
    known = {"AVX512_SKX": "avx512", "AVX2": "avx2", "SVE": "sve", "ASIMD": "neon"}
    family = next((short for name, short in known.items() if features.get(name)), "base")
    return f"{platform.machine().lower()}-{family}"


def check_bits(whose: str, found: Mapping[str, str], stored: Mapping[str, str], kind: str) -> None:
    """Mix two sources of bits in one store only when somebody asks for it.

    Args:
        whose: Who computes with the signature `found`.
        found: Its numeric signature.
        stored: The signature that the store was begun with.
        kind: The engine that a person would name to mix them.

    Raises:
        BackboneError: If the signatures differ.
    """
    if told := other_bits(found, stored):
        raise BackboneError(
            f"{whose} computes with {told[0]}, which the store was begun with: bits would differ "
            f"within 1e-5. To mix them: --engine {kind}"
        )


def other_bits(found: Mapping[str, str], stored: Mapping[str, str]) -> list[str]:
    """Return how one numeric signature differs from that of a store, in words."""
    return [
        f"{key} {found.get(key)!r} instead of {value!r}"
        for key, value in stored.items()
        if value != found.get(key)
    ]


def relative_distance(found: np.ndarray, reference: np.ndarray) -> float:
    """Return |found - reference| / |reference|, Euclidean norms over all images together.

    Not the worst single image: on a picture of one color float32 itself is at its limit (Keras
    was 9e-6 from float64 there, OpenVINO 8e-6, both under 2e-6 and 6e-6 on photographs).
    """
    a, b = np.asarray(found, np.float64), np.asarray(reference, np.float64)
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), np.finfo(np.float32).tiny))
