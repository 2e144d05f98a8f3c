"""Where memory runs out, wherever that is: one line that names what to lower."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from extract.errors import HeadstartError
from finetune.errors import TrainingError

NAMES = ("ResourceExhausted", "OutOfMemory", "MemoryError")
"""How backends, NumPy and Python call the classes of such errors."""
WORDS = ("RESOURCE_EXHAUSTED", "can't allocate memory", "not enough memory", "bad_alloc")
"""What JAX, torch on a processor, and C++ say in errors of other classes."""


@contextmanager
def naming_memory(batch_size: int, cache_memory: str | None = None) -> Iterator[None]:
    """Turn every error that means "no memory" into a `TrainingError`; others pass.

    Args:
        batch_size: As `--batch-size` says.
        cache_memory: As `--cache-memory` says; None where a command has no such option.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(batch_size, cache_memory) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, as far as an error of any backend tells."""
    if isinstance(error, HeadstartError):
        return False
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    lineage = [kind.__name__ for kind in type(error).__mro__]
    named = any(word in name for name in lineage for word in NAMES)
    return named or any(word in str(error) for word in WORDS)


def out_of_memory(batch_size: int, cache_memory: str | None = None) -> TrainingError:
    """Return the error, which says what was asked for and what to type instead."""
    asked = [f"--batch-size {batch_size}"]
    lower = [f"--batch-size {batch_size // 2}"] if batch_size > 1 else []
    if cache_memory is not None:
        asked.append(f"--cache-memory {cache_memory}")
        lower.append("a lower --cache-memory, such as 200MB" if lower else "--cache-memory 200MB")
    cure = f"Give {', or '.join(lower)}" if lower else "Close other programs"
    return TrainingError(f"Memory ran out with {' and '.join(asked)}. {cure}")
