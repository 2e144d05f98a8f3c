"""Backbones that are files of the user's: what kind each is, told by its name alone.

    models/mine.keras                       a Keras model
    model.onnx · model.xml · saved_model/   a frozen graph, which OpenVINO reads
    hub:NAME · hub:FOLDER · FOLDER          a preset of KerasHub
    mobilenet_v2                            anything else is a name of the catalogue

A name that the catalogue has is the catalogue's, whatever lies here: ./mobilenet_v2 is a folder.

The weights of such a backbone are its own, so `weights` is the word "own", and where the file
lies is its name: an absolute path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from extract.errors import BackboneError

Kind = Literal["catalogue", "keras", "graph", "hub"]

OWN = "own"
"""What `weights` says for a backbone that is a file."""
HUB = "hub:"

SAVED_MODEL = "saved_model.pb"
PRESET = "config.json"


def file_kind(name: str) -> Kind:
    """Tell which kind of file a name stands for; "catalogue" where it is none.

    `extract.backbones.kind_of` asks the catalogue first.
    """
    path = Path(name)
    if name.startswith(HUB):
        return "hub"
    if path.suffix == ".keras":
        return "keras"
    if path.suffix in (".onnx", ".xml") or (path / SAVED_MODEL).is_file():
        return "graph"
    return "hub" if (path / PRESET).is_file() else "catalogue"


def located(name: str) -> str:
    """Return the name of a backbone that is a file, with an absolute path in it.

    Raises:
        BackboneError: If there is no such file.
    """
    plain = name.removeprefix(HUB)
    path = Path(plain).expanduser()
    if file_kind(name) == "hub" and not (path / PRESET).is_file():
        return name  # the name of a published preset
    if not path.exists():
        raise BackboneError(
            f"There is no backbone {name}. Give --backbone (or --weights, for a model that was "
            f"trained on it) the place where it is now"
        )
    return (HUB if file_kind(name) == "hub" else "") + str(path.resolve())


def file_of(name: str) -> Path:
    """Return the file or folder that a located name stands for."""
    return Path(name.removeprefix(HUB))
