"""The shape of the project, held by tests: directions, light imports, what the wheel holds."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import extract
import finetune
import heads

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {"extract": set(), "heads": {"extract"}, "finetune": {"extract", "heads"}}
FILES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]
HEAVY = {"tensorflow", "keras", "sklearn", "openvino", "torch", "jax", "pyarrow", "cv2", "h5py"}


def imported(path):
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return names + [a.name for node in nodes if isinstance(node, ast.Import) for a in node.names]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    """heads may use extract, finetune may use both, and nothing points back."""
    package = path.relative_to(ROOT).parts[0]
    roots = {name.split(".")[0] for name in imported(path)}

    assert roots & set(MAY_IMPORT) <= MAY_IMPORT[package] | {package}
    assert not roots & {"tests", "benchmarks", "scripts", "pickle", "joblib", "dill"}


@pytest.mark.parametrize(
    ("station", "strangers"),
    [
        ("extract/pixels.py", {"store", "engines", "items", "pipeline", "plan"}),
        ("extract/jpeg.py", {"store", "engines", "items", "pipeline", "plan", "pixels"}),
        ("extract/pillow_formats.py", {"store", "engines", "items", "plan", "pixels", "jpeg"}),
        ("extract/image_limits.py", {"pixels", "jpeg", "pillow_formats", "exif", "recipe"}),
        ("extract/items.py", {"store", "engines", "pixels", "pipeline", "plan"}),
        ("extract/splits.py", {"store", "engines", "pixels", "items", "pipeline"}),
        ("extract/recipe.py", {"store", "engines", "pixels", "items", "pipeline"}),
        ("extract/store/shards.py", {"pixels", "items", "engines", "backbones", "pipeline"}),
        ("extract/engines/openvino.py", {"store", "pixels", "items", "pipeline", "plan"}),
        ("heads/evaluation.py", {"evaluation_tables", "console", "cli"}),
        ("heads/scoring.py", {"store", "data", "model", "sklearn_heads"}),
        ("heads/inference.py", {"store", "data", "model", "reader", "pixels"}),
        ("heads/data.py", {"model", "estimators", "train", "fitting"}),
    ],
)
def test_stations_do_not_know_each_other(station, strangers):
    parts = {part for name in imported(ROOT / station) for part in name.split(".")[1:]}

    assert not parts & strangers


@pytest.mark.parametrize(
    "module", ["extract", "extract.cli", "heads", "heads.cli", "finetune", "finetune.cli"]
)
def test_the_command_line_imports_nothing_heavy(module):
    """`python -m extract --help` answers at once."""
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split()

    assert not HEAVY & set(loaded)


@pytest.mark.parametrize("package", [extract, heads, finetune])
def test_the_public_face_is_what_it_names(package):
    assert all(callable(getattr(package, name)) for name in package.__all__)
    assert dir(package) == package.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


@pytest.mark.parametrize("package", [extract, heads, finetune])
def test_no_module_hides_a_public_name(package):
    """Importing `heads.fit` as a module would put it where the function of that name is."""
    folder = ROOT / package.__name__

    assert not [name for name in package.__all__ if (folder / f"{name}.py").exists()]


def test_the_wheel_holds_the_three_packages_and_nothing_else():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(settings["tool"]["setuptools"]["packages"])
    found = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for package in MAY_IMPORT
        for path in (ROOT / package).rglob("__init__.py")
    }

    assert listed == found
    assert all((ROOT / package / "py.typed").exists() for package in MAY_IMPORT)
