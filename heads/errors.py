"""Every error that `heads` raises on purpose; all of them are one line and exit status 1.

    HeadstartError
    ├── HeadError (ValueError)        labels, splits or options that no head can be trained on
    └── ModelError
        ├── DamagedModelError         what is on disk is not what was saved
        ├── StaleModelError           features, labels or weights are not those it was trained on
        └── ParityError               an export does not give what the model gives

Anything else that escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from extract.errors import HeadstartError


class HeadError(HeadstartError, ValueError):
    """Labels, splits, features or options that no head can be trained or judged on."""


class ModelError(HeadstartError):
    """Base of what can be wrong with a model on disk."""


class DamagedModelError(ModelError):
    """A file of the model is missing, short, altered or foreign."""


class StaleModelError(ModelError, ValueError):
    """Features, labels or weights are not those that the model was trained on."""


class ParityError(ModelError, ArithmeticError):
    """An exported file does not give what the model gives."""
