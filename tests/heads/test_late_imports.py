"""A stand-in for a module is the module, as soon as somebody asks it for anything."""

import subprocess
import sys

import pytest

START = "import sys; from heads.late_imports import import_late\n"
LOADED = "'scipy.stats._stats_py' in sys.modules"


def run(code):
    found = subprocess.run(
        [sys.executable, "-c", START + code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


@pytest.mark.parametrize(
    "use",
    [
        "from scipy.stats import norm; assert norm.cdf(0) == 0.5",
        "import scipy.stats; assert scipy.stats.norm.cdf(0) == 0.5",
        "import scipy; assert scipy.stats.norm.cdf(0) == 0.5",
        "import scipy.stats.distributions as d; assert d.norm.cdf(0) == 0.5",
        "import sklearn.base; import scipy.stats as s; assert s.norm.cdf(0) == 0.5",
        "from sklearn.metrics import roc_auc_score as r; assert r([0, 1], [0.2, 0.7]) == 1",
    ],
)
def test_whoever_asks_gets_the_module(use):
    assert run(
        f"import_late(); {use}\nprint({LOADED}, type(sys.modules['scipy.stats']).__name__)"
    ) == ("True module")


def test_heads_of_the_default_kind_do_not_ask():
    """What makes the command start a second earlier."""
    code = "import_late(); import heads.fitting, heads.logistic, heads.ridge\n"
    assert run(f"{code}print({LOADED}, 'sklearn.model_selection' in sys.modules)") == "False False"


def test_a_module_that_is_loaded_stays():
    code = "import scipy.stats; a = sys.modules['scipy.stats']; import_late()\n"
    assert run(f"{code}print(sys.modules['scipy.stats'] is a)") == "True"
