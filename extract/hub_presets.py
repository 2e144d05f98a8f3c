"""Presets of KerasHub: where one lies, and what its own converter does to images.

A preset is a folder of `config.json`, weights as HDF5 and, for images, a converter: alone in
`image_converter.json` or inside `preprocessor.json`. All of that is read as JSON here, so that a
warm run needs neither KerasHub nor Keras. `extract.hub` builds what is found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from extract import keras_files
from extract.backbone_files import HUB, PRESET, file_of
from extract.errors import BackboneError
from extract.prepared import cache_folder
from extract.recipe import Interpolation, Preprocessing, digest_json

CONVERTER, PREPROCESSOR = "image_converter.json", "preprocessor.json"
WEIGHTS, SHARDS = "model.weights.h5", "model.weights.json"
POLICIES = ("interpolation", "antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio")
DEFAULTS = {"crop_to_aspect_ratio": True, "interpolation": "bilinear"}
"""Of KerasHub's `ImageConverter`, where they are not those of `PixelPolicy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converter:
    """What a preset does to images before its backbone sees them."""

    policies: Mapping[str, Any]
    """Fields of `PixelPolicy`; image_size is None where the preset takes any."""
    preprocessing: Preprocessing


def folder_of(name: str) -> Path:
    """Return the folder of a preset; a published one is downloaded, once.

    Raises:
        BackboneError: If there is none.
    """
    folder = file_of(name)
    if (folder / PRESET).is_file():
        return folder
    remembered = cache_folder() / "hub" / f"{digest_json(name)}.json"
    if remembered.is_file():
        folder = Path(json.loads(remembered.read_text(encoding="utf-8")))
        if (folder / PRESET).is_file():
            return folder
    folder = _download(name.removeprefix(HUB))
    remembered.parent.mkdir(parents=True, exist_ok=True)
    remembered.write_text(json.dumps(str(folder)), encoding="utf-8")
    return folder


def _download(name: str) -> Path:
    from extract.keras_models import import_hub
    from extract.keras_weights import one_line

    import_hub()
    from keras_hub.src.utils.preset_utils import get_file

    try:
        place = Path(get_file(name, PRESET))
        for optional in (CONVERTER, PREPROCESSOR, WEIGHTS, SHARDS):
            try:
                found = Path(get_file(name, optional))
            except FileNotFoundError:
                continue
            if optional == SHARDS:
                for shard in shards(found):
                    get_file(name, shard)
    except Exception as error:  # KerasHub, Kaggle and the network raise many kinds
        raise BackboneError(
            f"The preset {name} cannot be had ({one_line(error)}). Give a name that KerasHub "
            f"knows, or hub:FOLDER for one that lies here"
        ) from error
    return place.parent


def shards(path: Path) -> list[str]:
    """Return the names of the files that weights are split into."""
    names = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    if any(Path(name).name != name for name in names):
        raise BackboneError(f"{path} is refused: it names files outside its folder")
    return names


def files_of(folder: Path) -> tuple[Path, ...]:
    """Return the files of a preset that decide a feature: graph, converter, weights."""
    names = [PRESET, CONVERTER, PREPROCESSOR, WEIGHTS]
    if (folder / SHARDS).is_file():
        names += [SHARDS, *shards(folder / SHARDS)]
    return tuple(path for path in map(folder.joinpath, names) if path.is_file())


def check_preset(folder: Path) -> None:
    """Look through a preset before anything in it is built; see `extract.keras_files`.

    Raises:
        BackboneError: If something in it is refused.
    """
    keras_files.check_config(folder, read_json(folder, PRESET))
    for path in files_of(folder):
        if path.suffix == ".h5":
            keras_files.check_hdf5(path, path, path.stat().st_size)


def converter_of(name: str) -> Converter:
    """Return what the converter of a preset says.

    Raises:
        BackboneError: If it has none, or one that does what we cannot.
    """
    folder = folder_of(name)
    config = _converter_config(folder)
    found = {key: config.get(key, DEFAULTS.get(key, False)) for key in POLICIES}
    if found["interpolation"] not in get_args(Interpolation):
        raise BackboneError(
            f"{folder} resizes by {found['interpolation']}, expected one of "
            f"{', '.join(get_args(Interpolation))}. Save its converter with one of these"
        )
    return Converter(
        policies={"image_size": _image_size(folder, config), **found},
        preprocessing=Preprocessing(
            scale=_channels(folder, config.get("scale"), 1.0),
            offset=_channels(folder, config.get("offset"), 0.0),
        ),
    )


def _converter_config(folder: Path) -> Mapping[str, Any]:
    if (folder / CONVERTER).is_file():
        found = read_json(folder, CONVERTER)
    elif (folder / PREPROCESSOR).is_file():
        found = read_json(folder, PREPROCESSOR).get("config", {}).get("image_converter") or {}
    else:
        found = {}
    config = found.get("config")
    if not isinstance(config, dict) or "mean" in config or "height" in config:
        raise BackboneError(
            f"{folder} has no image converter that says what it expects of pixels. Save one "
            f"beside the backbone: keras_hub.layers.ImageConverter(...).save_to_preset(folder)"
        )
    return config


def _image_size(folder: Path, config: Mapping[str, Any]) -> int | None:
    size = config.get("image_size")
    if size is None:
        outer = read_json(folder, PRESET)["config"]
        inner = (outer.get("vision_encoder") or {}).get("config") or outer
        size = (inner.get("image_shape") or (None, None))[:2]
    height, width = size
    if height != width:
        raise BackboneError(
            f"{folder} takes images of {height} x {width} pixels, expected squares. Save it for one"
        )
    return height


def _channels(folder: Path, value: Any, default: float) -> tuple[float, float, float]:
    numbers = default if value is None else value
    three = [numbers] * 3 if isinstance(numbers, int | float) else list(numbers)
    if len(three) != 3:
        raise BackboneError(f"{folder} scales {len(three)} channels, expected three of RGB images")
    return float(three[0]), float(three[1]), float(three[2])


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Return a file of a preset.

    Raises:
        BackboneError: If it is no JSON object.
    """
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(f"{folder / name} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise BackboneError(f"{folder / name} is no part of a preset: it holds no object")
    return found
