"""Distances on the globe."""

import numpy as np

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG)."""


def great_circle_km(
    lat_a: np.ndarray | float, lon_a: np.ndarray | float, lat_b: np.ndarray | float, lon_b: np.ndarray | float
) -> np.ndarray:
    """Great-circle distance by the haversine formula.

    Parameters
    ----------
    lat_a, lon_a, lat_b, lon_b
        Degrees; any shapes that broadcast.

    Returns
    -------
    Kilometres, in the broadcast shape.

    Examples
    --------
    >>> round(float(great_circle_km(52.52, 13.405, 48.137, 11.575)))  # Berlin to Munich
    504
    """
    a, b = np.radians(lat_a), np.radians(lat_b)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(np.subtract(lon_b, lon_a)) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1))))
