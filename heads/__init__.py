"""Train small classifiers on cached features, and ship them with their backbone.

    import heads

    model = heads.fit("photos.features")             # photos.head
    print(heads.evaluate(model).report.accuracy)     # test rows, read once
    heads.predict(model, "new photos")               # predictions.csv
    keras_model = heads.join(model)                  # raw images in, probabilities out

Names are loaded when they are first used, so that `python -m heads --help` answers at once. No
module has the name of a function here: importing it would put the module in the function's place.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heads.auditing import Audit, audit
    from heads.evaluation import Evaluation, evaluate
    from heads.exporting import export
    from heads.fitting import fit, fit_columns
    from heads.joining import join
    from heads.learning_curve import FewShot, few_shot
    from heads.model import Model
    from heads.model_folder import load, save
    from heads.packing import pack
    from heads.predicting import Predictions, predict
    from heads.reporting import ReportPage, report
    from heads.sweeping import Sweep, sweep

_HOMES = {
    "Audit": "heads.auditing",
    "Evaluation": "heads.evaluation",
    "FewShot": "heads.learning_curve",
    "Model": "heads.model",
    "Predictions": "heads.predicting",
    "ReportPage": "heads.reporting",
    "audit": "heads.auditing",
    "Sweep": "heads.sweeping",
    "evaluate": "heads.evaluation",
    "export": "heads.exporting",
    "few_shot": "heads.learning_curve",
    "fit": "heads.fitting",
    "fit_columns": "heads.fitting",
    "join": "heads.joining",
    "load": "heads.model_folder",
    "pack": "heads.packing",
    "predict": "heads.predicting",
    "report": "heads.reporting",
    "save": "heads.model_folder",
    "sweep": "heads.sweeping",
}
__all__ = [
    "Audit",
    "Evaluation",
    "FewShot",
    "Model",
    "Predictions",
    "ReportPage",
    "Sweep",
    "audit",
    "evaluate",
    "export",
    "few_shot",
    "fit",
    "fit_columns",
    "join",
    "load",
    "pack",
    "predict",
    "report",
    "save",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'heads' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
