"""Heads whose held-out rows have nothing to choose: they still train on none of them."""

import numpy as np
import pytest

from heads.logistic import LogisticHead
from heads.ridge import RidgeHead
from heads.svm import SVMHead


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: LogisticHead([0.1], **options),
        lambda **options: RidgeHead([3.0], **options),
        lambda **options: SVMHead(Cs=[0.1], **options),
    ],
    ids=["logistic", "ridge", "svm"],
)
def test_without_a_refit_a_fold_trains_on_its_own_rows_alone(make):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    train, held_out = np.split(np.arange(60), [40])

    found = make(cv=[(train, held_out)], refit=False).fit(X, y)
    alone = make(cv=[(np.arange(30), np.arange(30, 40))]).fit(X[train], y[train])

    np.testing.assert_allclose(found.coef_, alone.coef_, rtol=1e-6)
    np.testing.assert_allclose(found.intercept_, alone.intercept_, rtol=1e-6)
