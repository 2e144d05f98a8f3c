"""The pixel policies of a run: what somebody asks for, else what the backbone was made with."""

from __future__ import annotations

from typing import Any

from extract import backbones
from extract.backbone_files import file_of
from extract.backbones import BackboneSpec
from extract.errors import BackboneError
from extract.plain_values import switch, whole_number
from extract.recipe import PixelPolicy

ONE_OF_TWO = ("crop_to_aspect_ratio", "pad_to_aspect_ratio")


def pixel_policy(spec: BackboneSpec, **asked: Any) -> PixelPolicy:
    """Return the policies for a backbone.

    Args:
        spec: The backbone.
        asked: Fields of `PixelPolicy`; None for what suits the backbone.

    Raises:
        InputError: If a value is of another type, or out of range.
        BackboneError: If it takes images of any size, and none is asked for.
    """
    given = {name: _plain(name, value) for name, value in asked.items() if value is not None}
    suited = made_with(spec, asked_size=given.get("image_size"))
    if any(given.get(name) for name in ONE_OF_TWO):  # asking for one turns the other off
        suited = {name: suited[name] for name in suited if name not in ONE_OF_TWO}
    policies = suited | given
    if policies.get("image_size") is None:
        raise BackboneError(
            f"{spec.title} takes images of any size: give --image-size, such as 224"
        )
    return PixelPolicy(**policies)


def _plain(name: str, value: Any) -> Any:
    """Return the value of a field as it stands in recipes."""
    if name == "image_size":
        return whole_number(name, value)
    return value if name == "interpolation" else switch(name, value)


def made_with(spec: BackboneSpec, asked_size: int | None = None) -> dict[str, Any]:
    """Return what a backbone says of its images; files are read, and nothing is built.

    "image_size" is missing where it was asked for, and None where any will do.
    """
    if spec.kind == "catalogue":
        return {"image_size": backbones.entry(spec.name).image_size}
    if spec.kind == "hub":
        from extract.hub_presets import converter_of

        return dict(converter_of(spec.name).policies)
    if asked_size is not None:
        return {}
    if spec.kind == "keras":
        from extract.keras_files import look_through

        return {"image_size": (look_through(file_of(spec.name)).input_shape or (None,))[0]}
    from extract.frozen_graphs import image_size_of

    return {"image_size": image_size_of(file_of(spec.name))}
