"""Write extract/backbones.json: build every backbone, and note what it takes, gives and weighs.

    python scripts/make_backbone_table.py

Nothing is downloaded: the request for the weights file is caught on its way. The biggest model
takes 1.4 GB of memory; all of them together take some minutes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import json
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
from keras.src.applications import imagenet_utils
from keras.src.utils import file_utils

from extract import digits
from extract.backbones import REFUSED_ARGUMENTS, BackboneEntry
from extract.preprocessing import PREPROCESSING, Mode

TABLE = Path(__file__).parents[1] / "extract" / "backbones.json"

# What `variants` looks through: the widths that have ImageNet weights, and sizes 96 to 224.
ALPHAS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
SIZES = (96, 128, 160, 192, 224)


def snake_case(class_name: str) -> str:
    """Return the name that users type, such as "resnet50_v2" for "ResNet50V2"."""
    words = (
        r"(?:Conv|Dense|Efficient|Mobile|NAS|Res)Ne(?:t|Xt)\d*|VGG\d+|V\d|B\d|XLarge|[A-Z][a-z]*"
    )
    return "_".join(re.findall(words, class_name)).lower()


def applications() -> dict[str, Callable[..., keras.Model]]:
    """Return every builder of `keras.applications` by its snake-case name, sorted."""
    builders = inspect.getmembers(keras.applications, inspect.isfunction)
    return dict(sorted((snake_case(name), builder) for name, builder in builders))


class Stop(Exception):
    """Leaves a builder as soon as it has said what we want to know."""


def default_size(builder: Callable[..., keras.Model]) -> int:
    """Return the side of the images that `builder` takes if it is not told, in pixels."""
    found: list[int] = []

    def note(*_: object, default_size: int, **__: object) -> None:
        found.append(default_size)
        raise Stop

    with mock.patch.object(imagenet_utils, "obtain_input_shape", note), contextlib.suppress(Stop):
        builder(weights=None)
    return found[0] if found else 224  # MobileNetV3 takes any size, and its weights are of 224


def with_imagenet(
    builder: Callable[..., keras.Model], size: int, **arguments: Any
) -> tuple[keras.Model, str, str]:
    """Return the model as built for ImageNet's weights, the file it wants, and where from."""
    wanted: list[tuple[str, str]] = []

    def note(fname: str, origin: str, **_: object) -> str:
        wanted.append((fname, origin))
        return fname

    with (
        mock.patch.object(file_utils, "get_file", note),
        mock.patch.object(keras.Model, "load_weights"),
        warnings.catch_warnings(action="ignore"),  # that other sizes get the weights of 224
    ):
        model = builder(
            weights="imagenet", include_top=False, input_shape=(size, size, 3), **arguments
        )
    return model, *wanted[0]


def preprocessing_mode(module: Any) -> Mode:
    """Return the mode that gives what the family's own `preprocess_input` gives."""
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 5, 5, 3)).astype(np.float32)
    expected = module.preprocess_input(pixels.copy())
    for mode, steps in PREPROCESSING.items():
        flipped = pixels[..., :: -1 if steps.flip else 1]
        if np.allclose(flipped * steps.scale + steps.offset, expected, rtol=1e-5, atol=1e-5):
            return mode
    raise ValueError(f"{module.__name__}.preprocess_input does something new.")


def user_arguments(builder: Callable[..., keras.Model]) -> dict[str, Any]:
    """Return the arguments that are not ours to set, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(builder).parameters.items()
        if name not in REFUSED_ARGUMENTS
    }


def variants(builder: Callable[..., keras.Model]) -> list[str]:
    """Return every weights file that some arguments and image size load, sorted."""
    names = user_arguments(builder)
    if "alpha" not in names:
        return []
    switches: list[dict[str, bool]] = [{}]
    if "minimalistic" in names:
        switches.append({"minimalistic": True})
    files = set()
    for switch in switches:
        for alpha in ALPHAS:
            for size in SIZES:
                try:
                    files.add(with_imagenet(builder, size, alpha=alpha, **switch)[1])
                except ValueError:
                    continue  # there are no weights for this width
    return sorted(files)


def application_entry(name: str) -> BackboneEntry:
    """Return the entry of one model of `keras.applications`."""
    builder = applications()[name]
    module = builder.__module__.replace("keras.src.", "keras.")
    size = default_size(builder)
    model, file, url = with_imagenet(builder, size)
    return BackboneEntry(
        name=name,
        class_name=builder.__name__,
        module=module,
        image_size=size,
        features=model.output_shape[-1],
        parameters=model.count_params(),
        preprocessing=preprocessing_mode(importlib.import_module(module)),
        arguments=user_arguments(builder),
        default_weights="imagenet",
        weights_file=file,
        weights_url=url,
        variants=tuple(other for other in variants(builder) if other != file),
    )


def digits_entry() -> BackboneEntry:
    """Return the entry of our own small backbone."""
    model = digits.build()
    return BackboneEntry(
        name="digits",
        class_name="build",
        module="extract.digits",
        image_size=digits.IMAGE_SIZE,
        features=model.output_shape[-1],
        parameters=model.count_params(),
        preprocessing="none",
        arguments={},
        default_weights="embedded",
        weights_file=digits.WEIGHTS.name,
        weights_url=None,
    )


def make_entry(name: str) -> BackboneEntry:
    """Return the entry called `name`, from a fresh build."""
    return digits_entry() if name == "digits" else application_entry(name)


def to_json(entries: Iterable[BackboneEntry]) -> str:
    """Return the text of the table."""
    return json.dumps([dataclasses.asdict(item) for item in entries], indent=1) + "\n"


def main() -> None:
    """Build everything and write the table."""
    entries = []
    for name in sorted({*applications(), "digits"}):
        entries.append(make_entry(name))
        print(entries[-1])
    TABLE.write_text(to_json(entries), encoding="utf-8")


if __name__ == "__main__":
    main()
