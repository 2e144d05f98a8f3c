"""What happens to pixels in 0..255 before a backbone sees them: four known modes, or mean and std.

A mode is what `keras.applications.imagenet_utils.preprocess_input` does; a mean and a standard
deviation are in 0..1, as torchvision and timm write them down.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from extract.errors import InputError
from extract.recipe import Preprocessing

if TYPE_CHECKING:
    import numpy as np

Mode = Literal["tf", "torch", "caffe", "none"]
Channels = tuple[float, float, float]

MODES = "tf, torch, caffe, none, or mean=0.485,0.456,0.406,std=0.229,0.224,0.225"

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB, in 0..1


def standardized(mean: Channels, std: Channels) -> Preprocessing:
    """Return `(pixels / 255 - mean) / std`, channel by channel."""
    return Preprocessing(
        scale=tuple(1 / (255 * s) for s in std),  # type: ignore[arg-type]
        offset=tuple(-m / s for m, s in zip(mean, std, strict=True)),  # type: ignore[arg-type]
    )


PREPROCESSING: Mapping[Mode, Preprocessing] = MappingProxyType(
    {
        "none": Preprocessing(),
        "tf": Preprocessing(scale=(1 / 127.5,) * 3, offset=(-1.0,) * 3),
        "torch": standardized(_MEAN, _STD),
        # Means of ImageNet in 0..255, BGR, as Caffe's models subtract them.
        "caffe": Preprocessing(offset=(-103.939, -116.779, -123.68), flip=True),
    }
)
"""What each mode of `keras.applications.imagenet_utils.preprocess_input` does to pixels."""


def parse_preprocessing(text: str) -> Preprocessing:
    """Read `--preprocessing`: a mode, or "mean=M,M,M,std=S,S,S" with one number or three each.

    Raises:
        InputError: If it is neither, or a number is not in 0..1.
    """
    if text in PREPROCESSING:
        return PREPROCESSING[text]  # type: ignore[index]
    found = re.fullmatch(r"mean=(?P<mean>[^=]+),std=(?P<std>[^=]+)", text.replace(" ", ""))
    if found is None:
        raise InputError(f"--preprocessing is one of {MODES}. Received: {text!r}")
    mean, std = _channels(text, found["mean"]), _channels(text, found["std"])
    if min(std) <= 0:
        raise InputError(f"--preprocessing std is above 0. Received: {text!r}")
    return standardized(mean, std)


def _channels(text: str, numbers: str) -> Channels:
    """Return three numbers for "0.5" or "0.485,0.456,0.406"."""
    try:
        values = tuple(float(number) for number in numbers.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise InputError(
            f"--preprocessing mean and std have one number or three each. Received: {text!r}"
        )
    if not all(0 <= value <= 1 for value in values):
        raise InputError(
            f"--preprocessing mean and std are those of pixels in 0..1: divide by 255 what is for "
            f"0..255. Received: {text!r}"
        )
    return (values * 3)[:3]  # type: ignore[return-value]


def applied(pixels: np.ndarray, steps: Preprocessing) -> np.ndarray:
    """Return pixels (..., 3) in 0..255 as a backbone sees them, float32."""
    import numpy as np  # names and numbers of backbones are read without it

    turned = pixels[..., ::-1] if steps.flip else pixels
    scale, offset = np.array(steps.scale, np.float32), np.array(steps.offset, np.float32)
    return np.asarray(turned * scale + offset, np.float32)
