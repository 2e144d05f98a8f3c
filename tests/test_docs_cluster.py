"""The files of docs/cluster.md are what Ray's launcher takes, and its options exist."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from typer.main import get_command

import extract.cli

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "cluster.md").read_text(encoding="utf-8")


def test_the_options_exist():
    run = get_command(extract.cli.app).commands["run"]
    known = {option for parameter in run.params for option in parameter.opts}
    table = TEXT.partition("| option | |")[2].partition("\n\n")[0]
    named = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", table))

    assert named >= {"--cluster", "--actors", "--actor-cpus", "--actor-gpus"}
    assert named <= known


def test_the_cluster_files_fit_the_schema_of_ray():
    if importlib.util.find_spec("ray") is None:
        pytest.skip('no ray: pip install "headstart[ray]"')
    import jsonschema
    import yaml

    home = Path(importlib.util.find_spec("ray").origin).parent
    schema = json.loads((home / "autoscaler" / "ray-schema.json").read_text(encoding="utf-8"))
    files = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.M | re.S)]

    assert [file["provider"]["type"] for file in files] == ["local", "aws"]
    for file in files:
        jsonschema.validate(file, schema)
        starts = [*file["head_start_ray_commands"], *file["worker_start_ray_commands"]]
        assert all("RAY_AUTH_MODE=token" in line for line in starts if "ray start" in line)
