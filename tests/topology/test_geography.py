"""Great circles against distances worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.geography import EARTH_RADIUS_KM, great_circle_km

LAT, LON = st.floats(-90, 90), st.floats(-180, 180)


@pytest.mark.parametrize(
    ("a", "b", "fraction"),
    [
        ((0, 0), (0, 90), 1 / 4),
        ((0, 0), (90, 0), 1 / 4),
        ((-90, 17), (90, -120), 1 / 2),
        ((0, 179), (0, -179), 2 / 360),
        ((60, 0), (60, 180), 60 / 360),
        ((0, 0), (0, 180), 1 / 2),
        ((12, 34), (12, 34), 0),
    ],
)
def test_known_arcs(a, b, fraction):
    assert great_circle_km(*a, *b) == pytest.approx(2 * np.pi * EARTH_RADIUS_KM * fraction)


@given(LAT, LON, LAT, LON)
def test_symmetric_bounded_and_as_the_angle_between_vectors(lat_a, lon_a, lat_b, lon_b):
    km = float(great_circle_km(lat_a, lon_a, lat_b, lon_b))
    assert km == pytest.approx(float(great_circle_km(lat_b, lon_b, lat_a, lon_a)), abs=1e-6)
    assert 0 <= km <= np.pi * EARTH_RADIUS_KM + 1e-6

    def vector(lat, lon):
        phi, lam = np.radians([lat, lon])
        return np.array([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])

    a, b = vector(lat_a, lon_a), vector(lat_b, lon_b)
    angle = np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)
    assert km == pytest.approx(EARTH_RADIUS_KM * angle, abs=1e-3)


def test_shapes_broadcast():
    assert great_circle_km(np.zeros((3, 1)), np.zeros((3, 1)), np.zeros(4), np.arange(4)).shape == (3, 4)
