"""What people and programs see: progress, tables, JSON, one-line errors, the next command.

Everything for people goes to stderr where `--json` is given, so that stdout holds one object.
"""

from __future__ import annotations

import difflib
import json
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from extract.errors import HeadstartError
from extract.progress import Tick

# typer carries click under a private name since 0.26; its public error leads to both classes.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
ClickException: type[Exception] = typer.BadParameter.__mro__[2]

DELIBERATE, USAGE, TOO_MANY_BAD, STOPPED = 1, 2, 3, 130
"""Exit statuses; 0 is done, and anything else is a bug with a traceback."""


RESUMES = "Stopped. What was finished is kept: the same command resumes."


def run_app(app: typer.Typer, prog: str, stopped: str = RESUMES) -> None:
    """Run a command line: deliberate errors are one line on stderr, and so is Ctrl-C.

    What a scheduler sends before it kills (SIGTERM) is heard as Ctrl-C is.
    """
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        status = app(prog_name=prog, standalone_mode=False)
    except ClickException as error:
        if message := error.format_message():  # type: ignore[attr-defined]  # none after a help
            print(f"Error: {message}", file=sys.stderr)
        raise SystemExit(USAGE) from None
    except HeadstartError as error:
        print(f"Error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(DELIBERATE) from None
    if status == STOPPED:  # what typer makes of Ctrl-C
        print(stopped, file=sys.stderr)
    raise SystemExit(status or 0)


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    heard = signal.getsignal(signal.SIGINT)
    if callable(heard):
        heard(signal.SIGINT, frame)
    else:  # a shell's background job ignores Ctrl-C
        raise KeyboardInterrupt


class Commands(TyperGroup):
    """A command line whose main command is often left out: `python -m extract photos`."""

    main_command = "run"

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.commands, 1, 0.6)
            typo = bool(near) and not Path(args[0]).exists()
            words = [near[0], *args[1:]] if typo else [self.main_command, *args]
            raise UsageError(
                f"There is no command {args[0]!r}. "
                f"Did you mean: {ctx.command_path} {shlex.join(words)}"
            )
        return super().resolve_command(ctx, args)


def command(*words: object) -> str:
    """Return a command line, quoted, ready to paste."""
    return shlex.join(["python", "-m", *map(str, words)])


def plain_console(*, stderr: bool, width: int | None = None) -> Console:
    """Return what prints words as they are: rich would draw `from:100:` with an emoji."""
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=True, emoji=False)


class Screen:
    """Where a command's words go."""

    def __init__(self, as_json: bool = False) -> None:
        self._as_json = as_json
        self._out = plain_console(stderr=as_json)
        # A table is never cut: a terminal that is too narrow wraps its lines.
        self._wide = plain_console(stderr=as_json, width=10_000)

    def say(self, text: str = "") -> None:
        """Print a line for people."""
        self._out.print(text, markup=False)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table for people; columns that hold numbers are set right."""
        table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        texts = [[_text(cell) for cell in row] for row in rows]
        numeric = [
            bool(texts) and all(_is_number(row[i]) for row in texts) for i in range(len(columns))
        ]
        for name, right in zip(columns, numeric, strict=True):
            table.add_column(name, justify="right" if right else "left", no_wrap=True)
        for row in texts:
            table.add_row(*map(Text, row))  # names are data, never markup
        self._wide.print(table)

    def next(self, *words: object) -> None:
        """Print the next command, as the last line, for people also where this one is not."""
        self.say(f"Next: {command(*(word for word in words if word != '--json'))}")

    def finish(self, facts: dict[str, Any]) -> None:
        """Print the object that `--json` promises, as the last line of stdout."""
        if self._as_json:
            print(json.dumps(facts), flush=True)


def _text(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").replace("%", "").isdigit() or not text


class ProgressReporter:
    """Shows a run's progress on stderr: a bar on a terminal, now and then a line elsewhere."""

    EVERY = 10.0  # seconds between plain lines

    def __init__(self) -> None:
        self._console = plain_console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._last = time.monotonic()

    def __enter__(self) -> ProgressReporter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        """Print one sentence."""
        self._console.print(text, markup=False)

    def line(self, text: str) -> None:
        """Print a line now and then, for work that has no count of images."""
        if time.monotonic() - self._last >= self.EVERY:
            self._last = time.monotonic()
            self.note(text)

    def tick(self, tick: Tick) -> None:
        """Move the bar, or print a line."""
        if self._console.is_terminal:
            self._show_bar(tick)
        elif time.monotonic() - self._last >= self.EVERY:
            self._last = time.monotonic()
            self.note(f"{tick.items_done:,} of {tick.items:,} items, {describe(tick)}")

    def _show_bar(self, tick: Tick) -> None:
        if self._bar is None:
            words = TextColumn("{task.completed:,.0f} of {task.total:,.0f} · {task.fields[now]}")
            self._bar = Progress(BarColumn(), words, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=tick.items, now="")
            self._bar.start()
        self._bar.update(self._task, completed=tick.items_done, now=describe(tick))


def describe(tick: Tick) -> str:
    """Return "212 images/s, 0:41 left, waiting for forward"."""
    if not tick.images_per_second:
        return f"starting, waiting for {tick.waiting_for}"
    left = "" if tick.seconds_left is None else f", {clock(tick.seconds_left)} left"
    return f"{tick.images_per_second:.0f} images/s{left}, waiting for {tick.waiting_for}"


def clock(seconds: float) -> str:
    """Return "1:02:03" or "0:41"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float) -> str:
    """Return "12.3 MB" for a number of bytes."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def plain_progress(what: str) -> Callable[[int, int], None]:
    """Return a callback (done, total) that prints a line on stderr every few seconds."""
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= ProgressReporter.EVERY:
            last = time.monotonic()
            print(f"{done:,} of {total:,} {what}", file=sys.stderr)

    return report
