"""What `python -m extract backbones` prints: the catalogue, one file, or the layers of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from extract.backbone_files import Kind, file_of
from extract.backbones import (
    BackboneEntry,
    BackboneSpec,
    catalogue,
    entry,
    kind_of,
    nearest,
    parse_arguments,
    weights_state,
)
from extract.console import Screen, size
from extract.errors import InputError

WORDS = {"yes": "yes", "variant": "of a variant", "no": "no"}


KINDS: Mapping[Kind, str] = {
    "keras": "Keras model",
    "graph": "frozen graph",
    "hub": "preset of KerasHub",
}


def show_catalogue(screen: Screen, name: str | None, search: str | None) -> None:
    """Print the backbones, those that are searched for, or one."""
    if name is not None and kind_of(name) != "catalogue":
        show_file(screen, name)
        return
    rows = [(e, weights_state(e)) for e in (_found(search) if name is None else [entry(name)])]
    screen.table(
        ["name", "input", "features", "parameters", "weights here"],
        [[e.name, e.image_size, e.features, e.parameters, WORDS[state]] for e, state in rows],
    )
    first = rows[0][0].name if name or search else "mobilenet_v2"
    screen.next("extract", "run", "photos", "--backbone", first)
    screen.finish(
        {
            "backbones": [
                {
                    "name": e.name,
                    "image_size": e.image_size,
                    "features": e.features,
                    "parameters": e.parameters,
                    "weights": state,
                }
                for e, state in rows
            ]
        }
    )


def show_file(screen: Screen, name: str) -> None:
    """Print what a backbone that is a file says of itself; nothing in it is built."""
    from extract.backbone_pixels import made_with

    spec = looked_at(name)
    image_size = made_with(spec)["image_size"]
    stored = sum(path.stat().st_size for path in _files(spec))
    screen.table(
        ["name", "kind", "input", "on disk"],
        [[spec.title, KINDS[spec.kind], image_size or "any", size(stored)]],
    )
    words = ["photos", "--backbone", name, *(["--image-size", 224] * (image_size is None))]
    screen.next("extract", "run", *words, *still_to_give(name, None))
    facts = {"name": spec.name, "kind": spec.kind, "image_size": image_size, "bytes": stored}
    screen.finish({"backbones": [facts]})


def _files(spec: BackboneSpec) -> tuple[Path, ...]:
    if spec.kind == "graph":
        from extract.frozen_files import files_of

        return files_of(file_of(spec.name))
    if spec.kind == "hub":
        from extract import hub_presets

        return hub_presets.files_of(hub_presets.folder_of(spec.name))
    return (file_of(spec.name),)


def _found(search: str | None) -> list[BackboneEntry]:
    """Return the entries with a word in their names; case, dashes and underscores do not count."""
    plain = "".join(filter(str.isalnum, (search or "").lower()))
    found = [e for e in catalogue().values() if plain in e.name.replace("_", "")]
    if not found:
        near = nearest(search or "", catalogue(), likeness=0.5)
        question = f": did you mean {', '.join(near)}?" if near else "."
        raise InputError(
            f"No backbone has {search!r} in its name{question} `python -m extract backbones` lists "
            f"all"
        )
    return found


def show_layers(
    screen: Screen, name: str | None, arguments: Sequence[str], image_size: int | None
) -> None:
    """Print the layer outputs of a backbone."""
    from extract.backbone_pixels import pixel_policy
    from extract.layer_costs import layer_costs

    if name is None:
        raise InputError("--layers is about one backbone: give its NAME, such as mobilenet_v2")
    spec = looked_at(name, arguments)
    costs = layer_costs(spec, pixel_policy(spec, image_size=image_size).image_size)
    screen.table(
        ["layer", "operation", "shape", "KiB per image", "forward time"],
        [
            [c.name, c.class_name, " x ".join(map(str, c.shape)), f"{c.kib:.1f}", f"{c.share:.1%}"]
            for c in costs
        ],
    )
    words = ["photos", "--backbone", name, "--layer", f"{costs[-1].name}:avg"]
    words += [word for argument in arguments for word in ("--backbone-arg", argument)]
    size_asked = ["--image-size", image_size] * (image_size is not None)
    screen.next("extract", "run", *words, *size_asked, *still_to_give(name, None))
    screen.finish({"layers": [asdict(cost) for cost in costs]})


def looked_at(
    name: str, arguments: Sequence[str] = (), preprocessing: str | None = None
) -> BackboneSpec:
    """Return a backbone whose layers or sizes are looked at; its features are not asked for.

    What a frozen graph expects of pixels decides neither, so it need not be said.
    """
    if preprocessing is None and kind_of(name) == "graph":
        preprocessing = "none"
    return BackboneSpec(
        name=name, arguments=parse_arguments(arguments), preprocessing=preprocessing
    )


def still_to_give(name: str, preprocessing: str | None) -> list[str]:
    """Return what a run needs to be told besides, of a backbone that was only looked at."""
    return ["--preprocessing", "MODE"] * (preprocessing is None and kind_of(name) == "graph")
