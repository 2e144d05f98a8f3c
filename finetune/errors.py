"""Every error that `finetune` raises on purpose; all of them are one line and exit status 1.

    HeadstartError
    └── FinetuneError (ValueError)    a model, data set or option that cannot be tuned with
        ├── UnfreezeError             no layer answers to an `--unfreeze` value
        ├── CutError                  no set of tensors separates what is frozen from what trains
        ├── FrozenWeightError         a weight that was to stay has changed
        └── TrainingError             training had to stop: out of memory, or NaN

Anything else that escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from extract.errors import HeadstartError


class FinetuneError(HeadstartError, ValueError):
    """A model, a data set or an option that cannot be used for fine-tuning."""


class UnfreezeError(FinetuneError):
    """No layer of the backbone answers to an `--unfreeze` value."""


class CutError(FinetuneError):
    """The graph cannot be cut below the first layer that trains."""


class FrozenWeightError(FinetuneError):
    """A weight or a moving statistic that was to stay as it was has changed."""


class TrainingError(FinetuneError):
    """Training had to stop; what was best until then is on disk."""
