"""What the README says is run: every block, and what it prints but for its numbers."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import extract.cli
import finetune.cli
import heads.cli

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PARAMETERS = {
    package: {c: {o for p in command.params for o in p.opts} for c, command in commands.items()}
    for package, commands in {
        "extract": get_command(extract.cli.app).commands,
        "heads": get_command(heads.cli.app).commands,
        "finetune": get_command(finetune.cli.app).commands,
    }.items()
}
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


def shape(text):
    """Reduce output to its words: counts, times, rates and digests differ between machines."""
    text = re.sub(r"\b[0-9a-f]{16}…", "DIGEST", text)
    text = re.sub(r"\b[KMG]?B/s", "RATE", text)
    return [re.sub(r"[\d.,]+", "N", " ".join(line.split())) for line in text.strip().splitlines()]


@pytest.fixture(scope="module")
def folder(shared, tmp_path_factory):
    """A folder with photographs and an environment in which real weights are found offline."""
    folder = tmp_path_factory.mktemp("readme")
    name = re.search(r"<!-- photos: (\w+) -->", README)[1]
    shutil.copytree(shared / "data" / name, folder / "photos", copy_function=shutil.copyfile)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    environment = {
        **os.environ,
        "KERAS_HOME": str(shared / "keras_home"),
        "PYTHONPATH": str(ROOT),
        "HEADSTART_CACHE": str(folder / "cache"),
        "COLUMNS": "200",
    }
    return folder, environment


def run(words, folder, environment):
    return subprocess.run(
        words,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    ).stdout


def test_console_blocks_print_what_they_show(folder):
    for block in blocks("console"):
        for command, expected in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            words = command.split()
            assert words[0] == "python"
            printed = run([sys.executable, *words[1:]], *folder)
            # plain progress appears only on machines where a run takes longer than ten seconds
            lines = [line for line in shape(printed) if not re.search(r"waiting for \w+$", line)]

            assert lines == shape(expected), command


def test_python_blocks_run(folder):
    for block in blocks("python"):
        assert run([sys.executable, "-c", block], *folder).strip()


def test_shell_blocks_are_what_ci_runs():
    """The two set-up commands cannot run inside the suite; CI runs them to the letter."""
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    for block in blocks("sh"):
        for command in block.strip().splitlines():
            assert command in ci


def test_no_block_goes_untested():
    assert {name for name, _ in BLOCKS} <= {"console", "python", "sh"}


@pytest.mark.parametrize("package", PARAMETERS)
def test_every_command_is_in_the_readme(package):
    named = re.findall(rf"^\| `python -m {package} ([\w-]+)", README, re.MULTILINE)

    assert PARAMETERS[package].keys() == set(named)


def test_the_options_that_the_readme_names_exist():
    known = {o for commands in PARAMETERS.values() for opts in commands.values() for o in opts}

    assert {o for o in re.findall(r"--[a-z][a-z-]+", README) if o != "--help"} <= known


def test_files_that_documents_link_to_exist():
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
