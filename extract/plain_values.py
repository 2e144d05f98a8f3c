"""Numbers and switches that people pass, as plain Python values: JSON takes no others."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from extract.errors import InputError


def whole_number(name: str, value: Any) -> int:
    """Return a whole number, of Python or of NumPy, as an int.

    Raises:
        InputError: If it is something else; it says so of `name`.
    """
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise InputError(f"{name} is a whole number. Received: {value!r}")


def switch(name: str, value: Any) -> bool:
    """Return True or False, of Python or of NumPy, as a bool.

    1 is refused too: in a recipe it is another value than true.

    Raises:
        InputError: If it is something else; it says so of `name`.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} is True or False. Received: {value!r}")
    return bool(value)
