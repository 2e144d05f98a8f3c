"""One small data set in every form that `run` takes by name."""

import io
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

KINDS = ("folder", "csv", "parquet", "npz", "npy", "zip", "tar", "hf", "tfds")

Pictures = dict[str, np.ndarray]
"""Name → (h, w, 3) uint8, RGB; the name begins with the label."""


def pictures(seed: int = 0) -> Pictures:
    """Return eight noisy pictures of two classes, all of one size."""
    rng = np.random.default_rng(seed)
    return {
        f"{label}/{number}.png": rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)
        for label in ("cats", "dogs")
        for number in range(4)
    }


def make(kind: str, folder: Path, images: Pictures) -> str:
    """Write a data set into a folder, over an older one; return what `run` calls it."""
    folder.mkdir(parents=True, exist_ok=True)
    return MAKERS[kind](folder, images)


def encoded(picture: np.ndarray) -> bytes:
    """Return a picture as the bytes of a PNG."""
    return bytes(cv2.imencode(".png", picture[..., ::-1])[1])


def _folder(folder: Path, images: Pictures) -> str:
    for name, picture in images.items():
        path = folder / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != encoded(picture):
            path.write_bytes(encoded(picture))
    return str(folder / "pets")


def _labels(images: Pictures) -> list[str]:
    return [name.partition("/")[0] for name in images]


def _csv(folder: Path, images: Pictures) -> str:
    _folder(folder, images)
    lines = [f"pets/{name},{label}" for name, label in zip(images, _labels(images), strict=True)]
    (folder / "pets.csv").write_text("\n".join(["path,label", *lines]) + "\n", encoding="utf-8")
    return str(folder / "pets.csv")


def _parquet(folder: Path, images: Pictures) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _folder(folder, images)
    paths = [f"pets/{name}" for name in images]
    table = pa.table({"path": paths, "label": _labels(images), "taken": [2024] * len(images)})
    pq.write_table(table, folder / "pets.parquet")
    return str(folder / "pets.parquet")


def _npz(folder: Path, images: Pictures) -> str:
    np.savez(folder / "pets.npz", x=np.stack([*images.values()]), y=np.array(_labels(images)))
    return str(folder / "pets.npz")


def _npy(folder: Path, images: Pictures) -> str:
    (folder / "pets.npy").unlink(missing_ok=True)  # an open one is mapped
    np.save(folder / "pets.npy", np.stack([*images.values()]))
    return str(folder / "pets.npy")


def _zip(folder: Path, images: Pictures) -> str:
    (folder / "pets.zip").unlink(missing_ok=True)  # an open one is read
    with zipfile.ZipFile(folder / "pets.zip", "w") as archive:
        for name, picture in images.items():
            archive.writestr(name, encoded(picture))
    return str(folder / "pets.zip")


def _tar(folder: Path, images: Pictures) -> str:
    with tarfile.open(folder / "pets.tar", "w") as archive:
        for number, (label, picture) in enumerate(
            zip(_labels(images), images.values(), strict=True)
        ):
            for extension, data in (("png", encoded(picture)), ("cls", label.encode())):
                info = tarfile.TarInfo(f"{number:04d}.{extension}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return str(folder / "pets.tar")


def _hf(folder: Path, images: Pictures) -> str:
    import datasets

    datasets.disable_progress_bars()
    names = sorted(set(_labels(images)))
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
    rows = [
        {"image": {"bytes": encoded(picture), "path": None}, "label": label}
        for label, picture in zip(_labels(images), images.values(), strict=True)
    ]
    whole = datasets.Dataset.from_list(rows, datasets.Features(kinds))
    datasets.DatasetDict({"train": whole}).save_to_disk(folder / "pets")
    return f"hf:{folder / 'pets'}"


def _tfds(folder: Path, images: Pictures) -> str:
    import shutil

    import tensorflow_datasets as tfds

    shutil.rmtree(folder / "tfds", ignore_errors=True)
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name="pets",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                "label": tfds.features.ClassLabel(names=sorted(set(_labels(images)))),
            }
        ),
        split_datasets={
            "train": [
                (number, {"image": picture, "label": label})
                for number, (label, picture) in enumerate(
                    zip(_labels(images), images.values(), strict=True)
                )
            ]
        },
        data_dir=str(folder / "tfds"),
        disable_shuffling=True,
    )
    return f"tfds:{builder.data_path}"


MAKERS = {
    "folder": _folder,
    "csv": _csv,
    "parquet": _parquet,
    "npz": _npz,
    "npy": _npy,
    "zip": _zip,
    "tar": _tar,
    "hf": _hf,
    "tfds": _tfds,
}
