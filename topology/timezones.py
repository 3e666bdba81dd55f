"""Time zones and populations of places: from the longitude alone, or from a table of cities (GeoNames)."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from topology.errors import InputError, Problem
from topology.geography import EARTH_RADIUS_KM

CITY_COLUMNS = {
    "latitude": (-90.0, 90.0),
    "longitude": (-180.0, 180.0),
    "population": (0.0, np.inf),
}
"""Columns of numbers a table of cities must have, and their range; besides them ``timezone``."""


def longitude_timezones(lon: ArrayLike) -> list[str]:
    """The nautical time zone of each longitude, as an IANA name: R names from (R,) degrees.

    The sign of ``Etc/GMT`` names is inverted: ``Etc/GMT-1`` is one hour *ahead* of Greenwich, as at 15° east. No summer time, no borders.

    Examples
    --------
    >>> longitude_timezones([13.4, -74.0, 2.0])
    ['Etc/GMT-1', 'Etc/GMT+5', 'Etc/GMT']
    """
    hours = np.clip(np.round(np.asarray(lon, float) / 15), -12, 12).astype(int)
    return ["Etc/GMT" if h == 0 else f"Etc/GMT{-h:+d}" for h in hours.tolist()]


def read_cities(path: Path) -> pd.DataFrame:
    """Read a table of cities with a header: latitude, longitude, population, timezone (GeoNames' cities15000, as CSV).

    Raises
    ------
    InputError
        If the file is missing, is not such a table, or holds a number out of range.
    """
    try:
        frame = pd.read_csv(path, keep_default_na=False, encoding="utf-8")
    except (OSError, EOFError, ValueError, csv.Error) as error:
        reason = str(error).splitlines()[0]
        raise _wrong(path, f"cannot be read ({reason})", "give a CSV file with a header, in UTF-8") from error
    missing = [name for name in (*CITY_COLUMNS, "timezone") if name not in frame]
    if missing or frame.empty:
        what = f"missing columns {', '.join(missing)}" if missing else "the table is empty"
        raise _wrong(path, what, "give a table with latitude, longitude, population and timezone")
    for name, (low, high) in CITY_COLUMNS.items():
        values = pd.to_numeric(frame[name], errors="coerce")
        wrong = np.flatnonzero(~values.between(low, high).to_numpy())
        if len(wrong):
            row = int(wrong[0])
            raise InputError(
                Problem(
                    table=path.name,
                    row=row + 1,
                    column=name,
                    value=str(frame[name].iloc[row]),
                    message=f"not a number in {low:g}..{high:g}",
                    mend="correct the value, or remove the row",
                )
            )
        frame[name] = values.astype(float)
    return frame


def nearest_timezones(lat: ArrayLike, lon: ArrayLike, cities: pd.DataFrame) -> list[str]:
    """The time zone of the city nearest to each place: R names from (R,) degrees each."""
    return [str(zone) for zone in cities["timezone"].to_numpy()[nearest_cities(lat, lon, cities)]]


def nearest_cities(lat: ArrayLike, lon: ArrayLike, cities: pd.DataFrame) -> np.ndarray:
    """(R,) int: row of the city nearest to each place, from (R,) degrees each."""
    tree = cKDTree(_on_sphere(cities["latitude"], cities["longitude"]))
    return np.asarray(tree.query(_on_sphere(lat, lon))[1])


def nearby_population(lat: ArrayLike, lon: ArrayLike, cities: pd.DataFrame, *, within_km: float = 300.0) -> np.ndarray:
    """How many people live in the cities nearest to each place: every city counts at the one place nearest to it.

    Parameters
    ----------
    lat, lon
        (R,) degrees.
    within_km
        Cities farther than this from every place count nowhere (great circle).

    Returns
    -------
    (R,) float, people.
    """
    places = cKDTree(_on_sphere(lat, lon))
    chord = 2 * np.sin(min(within_km / EARTH_RADIUS_KM, np.pi) / 2)
    distance, nearest = places.query(_on_sphere(cities["latitude"], cities["longitude"]))
    near = np.asarray(distance) <= chord
    return np.bincount(np.asarray(nearest)[near], cities["population"].to_numpy(float)[near], len(np.atleast_1d(lat)))


def _on_sphere(lat: ArrayLike, lon: ArrayLike) -> np.ndarray:
    """Unit vectors, (R, 3): the chord between two of them grows with the great circle."""
    phi, lam = np.radians(np.atleast_1d(np.asarray(lat, float))), np.radians(np.atleast_1d(np.asarray(lon, float)))
    return np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])


def _wrong(path: Path, message: str, mend: str) -> InputError:
    return InputError(Problem(table=path.name, message=message, mend=mend))
