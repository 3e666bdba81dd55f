"""Time zones by longitude and by nearest city; populations counted once."""

import zoneinfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.errors import InputError
from topology.geography import great_circle_km
from topology.timezones import longitude_timezones, nearby_population, nearest_timezones, read_cities

CITIES = pd.DataFrame(
    {
        "name": ["Berlin", "Suva", "Lima"],
        "latitude": [52.5, -18.1, -12.0],
        "longitude": [13.4, 178.4, -77.0],
        "population": [3_600_000.0, 90_000.0, 8_000_000.0],
        "timezone": ["Europe/Berlin", "Pacific/Fiji", "America/Lima"],
    }
)


@given(st.floats(-180, 180))
def test_the_offset_is_that_of_the_sun_within_half_an_hour(lon):
    (zone,) = longitude_timezones([lon])
    offset = zoneinfo.ZoneInfo(zone).utcoffset(pd.Timestamp("2026-01-01").to_pydatetime())
    assert abs(offset.total_seconds() / 3600 - lon / 15) <= 0.5 + 1e-9


def test_the_nearest_city_is_the_one_of_the_great_circle():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-90, 90, 200), rng.uniform(-180, 180, 200)
    distance = great_circle_km(
        lat[:, None], lon[:, None], CITIES["latitude"].to_numpy(), CITIES["longitude"].to_numpy()
    )
    assert nearest_timezones(lat, lon, CITIES) == list(CITIES["timezone"].to_numpy()[distance.argmin(axis=1)])
    assert nearest_timezones([-18.0], [-179.9], CITIES) == ["Pacific/Fiji"], "across the date line"


def test_every_city_counts_once_and_far_ones_nowhere():
    people = nearby_population(np.array([52.0, 53.0, -12.0]), np.array([13.0, 13.0, -77.0]), CITIES)
    assert people.tolist() == [0.0, 3_600_000.0, 8_000_000.0] or people.tolist() == [3_600_000.0, 0.0, 8_000_000.0]
    assert people.sum() == 11_600_000.0
    assert nearby_population([52.0], [13.0], CITIES, within_km=10.0).tolist() == [0.0]
    assert nearby_population([52.0], [13.0], CITIES, within_km=30_000.0).tolist() == [CITIES["population"].sum()]


def test_reading_cities(tmp_path):
    path = tmp_path / "cities.csv"
    CITIES.assign(countrycode=["DE", "FJ", "NA"]).to_csv(path, index=False)
    assert read_cities(path)["countrycode"].tolist() == ["DE", "FJ", "NA"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("latitude,longitude,population,timezone\n", "empty"),
        ("latitude,longitude,population\n1,2,3\n", "missing columns timezone"),
        ("latitude,longitude,population,timezone\n91,2,3,UTC\n", "not a number in -90..90"),
        ("latitude,longitude,population,timezone\n1,2,3,UTC\n1,x,3,UTC\n", "row 2, column longitude"),
        ("latitude,longitude,population,timezone\n1,2,-3,UTC\n", "not a number in 0..inf"),
    ],
)
def test_wrong_tables_of_cities(tmp_path, text, message):
    path = tmp_path / "cities.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_cities(path)


def test_no_or_unreadable_cities(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_cities(tmp_path / "none.csv")
    (tmp_path / "cities.csv").write_bytes(b"latitude\n\xff\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_cities(tmp_path / "cities.csv")
