"""Classifiers that answer by logits say that they are not fitted, in scikit-learn's words."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from heads.neighbors import KNNHead, PrototypeHead
from heads.neural import LinearHead
from heads.streaming import StreamHead


@pytest.mark.parametrize("head", [StreamHead(), LinearHead(), KNNHead(), PrototypeHead()])
@pytest.mark.parametrize("ask", ["predict", "predict_proba"])
def test_what_is_not_fitted_says_so(head, ask):
    with pytest.raises(NotFittedError):
        getattr(head, ask)(np.zeros((2, 3), np.float32))


def test_the_second_of_two_classes_has_the_decision():
    random = np.random.default_rng(0)
    X = random.normal(size=(40, 3)).astype(np.float32)
    head = StreamHead().fit(X, np.where(X[:, 0] > 0, "up", "down"))
    values = head.decision_function(X)

    assert values.shape == (40,)
    np.testing.assert_array_equal(head.predict(X), np.where(values > 0, "up", "down"))
    np.testing.assert_allclose(head.predict_proba(X)[:, 1], 1 / (1 + np.exp(-values)), rtol=1e-5)
