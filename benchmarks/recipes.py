"""Five well-known recipes of transfer learning, each as a config with its source and its numbers.

`published` is what the source says on its own data and hardware; `standin` is what runs where its
weights or photographs are not at hand. Setups hold what the source does: optimizer, rates, epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.ways import Setup
from extract.backbones import entry

STANDIN: Mapping[str, Any] = {"backbone": "mobilenet_v2", "arguments": {"alpha": 0.35}}
FLIPS = ("--augment", "flip,rotation=0.1")
CATS = "cats_dogs_200px"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe as its source has it."""

    source: str
    url: str | None
    """Where it is; None where the page with these numbers was not found again."""
    checked: str
    """What was compared with that page."""
    published: Mapping[str, str]
    """What was measured → its value, as the source says."""
    data: str
    """What the source uses."""
    standin: str
    """What runs instead, in words."""
    folder: str
    """The stand-in of the photographs: a folder below data/."""
    setup: Setup = field(repr=False)
    """With the source's own backbone and size."""
    wrong_scale: bool = False
    """Whether the source first divides pixels by 255, which its backbone does not expect."""
    loop: bool = False
    """Whether training is a loop of one's own over `trainable_weights`."""

    @property
    def where(self) -> str:
        """The address, and what was looked up there, in words."""
        return f"{self.url or 'address not found'} ({self.checked})"

    def standing_in(self, shared: Path) -> Setup:
        """Return the setup with what is at hand."""
        return replace(self.setup, data=shared / "data" / self.folder, **STANDIN)

    def official(self, data: Path, weights: str) -> Setup:
        """Return the source's setup, on its data."""
        return replace(self.setup, data=data, weights=weights)

    def tiny(self, data: Path) -> Setup:
        """Return a setup of seconds. Its backbone has fewer than 100 layers."""
        words = ["-5" if word == "100" else word for word in self.setup.plain]
        return replace(
            self.setup,
            plain=tuple(words),
            unfreeze=tuple("last:5" if t == "from:100" else t for t in self.setup.unfreeze),
            data=data,
            backbone="mobilenet",
            arguments={"alpha": 0.25},
            weights="random",
            image_size=32,
            epochs=1,
            many_epochs=2,
            heads=2,
            tuned_epochs=1,
        )


def _setup(backbone: str, image_size: int, **facts: Any) -> Setup:
    entry(backbone)  # a misspelt name ends here
    return Setup(data=Path(), backbone=backbone, arguments={}, image_size=image_size, **facts)


GUIDE = Recipe(
    source="Keras guide: Transfer learning & fine-tuning (keras.io/guides/transfer_learning)",
    url="https://keras.io/guides/transfer_learning/",
    checked="set-up and all three numbers, in the guide's own output",
    published={
        "validation after 2 epochs of the head": ".9705",
        "validation after 1 epoch of fine-tuning": ".9494",
        "test": ".9413",
    },
    data="cats_vs_dogs of TensorFlow Datasets, Xception at 150 pixels",
    standin="MobileNetV2 0.35 with ImageNet's weights at 150 pixels; cats_dogs_200px",
    folder=CATS,
    setup=_setup(
        *("xception", 150),
        epochs=2,
        optimizer="adam",
        plain=("--augment", "--dropout", "0.2", "--then-epochs", "1", "--then-rate", "1e-5"),
        unfreeze=("all",),
        tuned_epochs=1,
        tuned_options=("--learning-rate", "1e-5", "--dropout", "0.2"),
        full_options=FLIPS,
    ),
)

RECIPES: Mapping[str, Recipe] = {
    "keras-guide": GUIDE,
    "tensorflow-notebook": Recipe(
        source="TensorFlow tutorial: Transfer learning using pretrained ConvNets "
        "(tensorflow.org/tutorials/images/transfer_learning)",
        url="https://www.tensorflow.org/tutorials/images/transfer_learning",
        checked="the page; its numbers are quoted",
        published={
            "validation after 10 epochs": "about .94",
            "validation after 50 epochs": "about .96",
        },
        data="cats_and_dogs_filtered, MobileNetV2 at 160 pixels",
        standin="MobileNetV2 0.35 with ImageNet's weights at 128 pixels; cats_dogs_200px",
        folder=CATS,
        setup=_setup(
            *("mobilenet_v2", 160),
            epochs=10,
            learning_rate=1e-4,
            plain=(
                *("--augment", "--dropout", "0.2"),
                *("--then-epochs", "10", "--then-from", "100", "--then-rate", "2e-5"),
            ),
            unfreeze=("from:100",),
            tuned_epochs=10,
            tuned_options=("--learning-rate", "2e-5", "--optimizer", "rmsprop"),
        ),
    ),
    "custom-loop": replace(
        GUIDE,
        source=f"{GUIDE.source}, with a training loop of one's own over trainable_weights",
        checked="the guide; it publishes no numbers for the loop",
        published={"-": "no numbers"},
        loop=True,
        setup=replace(GUIDE.setup, plain=(*GUIDE.setup.plain, "--loop")),
    ),
    "resnet-top": Recipe(
        source="Feature extraction with ResNet50V2, then its top layers, and more of them if that "
        "does not satisfy",
        url=None,
        checked="a habit of many pages, without numbers",
        published={"-": "no numbers"},
        data="photographs of one's own, ResNet50V2 at 224 pixels",
        standin="MobileNetV2 0.35 with ImageNet's weights at 224 pixels; cats_dogs_200px",
        folder=CATS,
        setup=_setup(
            *("resnet50_v2", 224),
            epochs=5,
            optimizer="adam",
            plain=("--then-epochs", "2", "--then-from", "-5", "--then-rate", "1e-4"),
            unfreeze=("last:5", "last:20"),
            tuned_options=("--learning-rate", "1e-4"),
        ),
    ),
    "many-classes": Recipe(
        source="ResNet50 at 100 pixels with many classes, pixels divided by 255 first",
        url=None,
        checked="its numbers are quoted",
        published={
            "an epoch with the wrong scale": "1191 s",
            "validation with the wrong scale": ".0206",
            "validation with the right one": "about .98",
            "test with the right one": "about .92",
            "validation, everything at SGD 1e-4": "about .99",
            "test, everything at SGD 1e-4": "about .94",
        },
        data="photographs of many classes, ResNet50 at 100 pixels",
        standin="MobileNetV2 0.35 with ImageNet's weights at 100 pixels; cats_dogs_200px, two "
        "classes: the wrong scale there is a division by 255 before the backbone's own scaling",
        folder=CATS,
        wrong_scale=True,
        setup=_setup(
            *("resnet50", 100),
            epochs=3,
            optimizer="adam",
            plain=(*("--then-epochs", "1", "--then-rate", "1e-4", "--then-optimizer", "sgd"),),
            unfreeze=("all",),
            tuned_epochs=1,
            tuned_options=("--learning-rate", "1e-4", "--optimizer", "sgd"),
        ),
    ),
    "beans": Recipe(
        source="The recipe before it on the iBean leaves, with flips and the last 10 layers",
        url=None,
        checked="its number is quoted",
        published={"test": "about .88"},
        data="iBean leaves, ResNet50 at 224 pixels",
        standin="MobileNetV2 0.35 with ImageNet's weights at 224 pixels; beans_256px, the same "
        "leaves at 256 pixels",
        folder="beans_256px",
        setup=_setup(
            *("resnet50", 224),
            epochs=5,
            optimizer="adam",
            plain=(
                *("--augment", "--then-epochs", "2"),
                *("--then-from", "-10", "--then-rate", "1e-4"),
            ),
            unfreeze=("last:10",),
            tuned_options=("--learning-rate", "1e-4"),
            full_options=FLIPS,
        ),
    ),
}
