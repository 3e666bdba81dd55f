"""The logistic regression beside the trees, held to a general optimiser and to what its columns must say."""

import numpy as np
import pytest
from scipy.optimize import minimize

from demand.forecast.logistic import columns_of_listed, columns_of_releases, fit_logistic


def test_the_coefficients_are_those_of_a_general_optimiser():
    rng = np.random.default_rng(1)
    x = rng.normal(3.0, [1.0, 5.0, 0.1], (400, 3))
    happened = rng.random(400) < 1 / (1 + np.exp(-(x @ [0.8, -0.3, 2.0] - 6.0)))
    strength = 7.0
    z = (x - x.mean(axis=0)) / x.std(axis=0)

    def loss(b):
        score = b[0] + z @ b[1:]
        return np.logaddexp(0, score).sum() - score[happened].sum() + strength / 2 * (b[1:] ** 2).sum()

    best = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x
    made = fit_logistic(x, happened, strength)
    assert [made.intercept, *made.slope] == pytest.approx(best, abs=1e-5)
    assert made.log_odds(x) == pytest.approx(best[0] + z @ best[1:], abs=1e-4)


def test_a_column_that_never_varies_says_nothing_and_breaks_nothing():
    x = np.column_stack([np.arange(20.0), np.full(20, 4.0)])
    made = fit_logistic(x, np.arange(20) >= 12, 1.0)
    assert made.slope[1] == 0.0
    assert np.isfinite(made.log_odds(x + 3)).all()
    assert made.log_odds(x[15:]).min() > made.log_odds(x[:5]).max()


def test_rare_columns_do_not_lead_astray():
    """A column that is 1 in two rows of ten thousand, where a whole Newton step would go too far, and another that foretells nearly all."""
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.normal(size=10_000), np.arange(10_000) < 2, rng.random(10_000) < 0.002]).astype(float)
    happened = (x[:, 0] > 2.2) | (x[:, 1] > 0) | (x[:, 2] > 0)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    made = fit_logistic(x, happened, 1.0)
    p = 1 / (1 + np.exp(-made.log_odds(x)))
    assert z.T @ (happened - p) == pytest.approx(made.slope, abs=1e-2)  # the slope of the penalised likelihood is 0
    assert (happened - p).sum() == pytest.approx(0.0, abs=1e-2)


def test_many_rows_are_weighed_in_parts_with_the_same_answer(monkeypatch):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(500, 2))
    happened = rng.random(500) < 0.3
    whole = fit_logistic(x, happened, 2.0)
    monkeypatch.setattr("demand.forecast.logistic._ROWS", 77)
    parts = fit_logistic(x, happened, 2.0)
    assert parts.slope == pytest.approx(whole.slope)


def test_columns_are_finite_whatever_the_features():
    """Features at their ends: titles never listed (-1, 99), no neighbour, no release."""
    for value in (-1.0, 0.0, 1.0, 11.0, 99.0, 400.0):
        column = lambda _, value=value: np.full(3, value, np.float32)  # noqa: E731
        for made in (columns_of_listed(column, True), columns_of_listed(column, False), columns_of_releases(column)):
            assert np.isfinite(made).all()
            assert len(made) == 3
    assert columns_of_listed(column, True).shape[1] > columns_of_listed(column, False).shape[1]
