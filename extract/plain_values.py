"""Numbers and switches that people pass, as plain Python values: JSON takes no others."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np


def whole_number(value: Any) -> int:
    """Return a whole number, of Python or of NumPy, as an int."""
    return operator.index(value)


def switch(value: Any) -> Any:
    """Return True or False of NumPy as a bool."""
    return bool(value) if isinstance(value, np.bool_) else value
