"""Logistic curves from costs to probabilities."""

import numpy as np
import pytest
from scipy.special import expit

from smotracker_ros.training.curves import calibration_error, fit_curve


def test_a_known_curve_is_found_again() -> None:
    generator = np.random.default_rng(0)
    costs = generator.uniform(0, 1, 20_000).astype(np.float32)
    fit = fit_curve(costs, generator.random(20_000) < expit(3 - 8 * costs))
    assert fit.offset == pytest.approx(3, abs=0.2) and fit.slope == pytest.approx(8, abs=0.5)
    assert fit.samples == 20_000 and fit.error < 0.02


@pytest.mark.parametrize("same", [True, False])
def test_samples_of_one_kind_only_say_what_is_missing(same: bool) -> None:
    with pytest.raises(ValueError, match="needs true and false ones"):
        fit_curve(np.float32([0.1, 0.2]), np.array([same, same]))


def test_the_calibration_error_is_that_of_the_bins() -> None:
    true = np.arange(1000) % 2 == 0
    assert calibration_error(np.full(1000, 0.5), true) == pytest.approx(0, abs=0.01)
    assert calibration_error(np.full(1000, 0.8), true) == pytest.approx(0.3, abs=0.01)
