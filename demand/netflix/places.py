"""Which country's list a region follows, and how many people there use the internet."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demand.netflix.files import find_file, read_geography
from topology.errors import InputError, Problem
from topology.network import Network
from topology.timezones import nearby_population, nearest_cities, nearest_timezones, read_cities

CITIES, POPULATION, INTERNET = "geonames_cities*", "geonames_countries", "*individuals-using-the-internet"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Where the regions are.

    Parameters
    ----------
    country
        (R,) the country whose list each region follows.
    subscribers
        (R,) float: internet users, or what the network says where the tables of countries are not there.
    timezone
        (R,) IANA names.
    known
        Whether time zones, and subscribers if the countries are there, come from the tables.
    """

    country: np.ndarray
    subscribers: np.ndarray
    timezone: np.ndarray
    known: bool


def locate(source: Path, network: Network, country: str | None, listed: pd.Index) -> Places:
    """Find the country of each region and how many of its people use the internet.

    A region lies in the country of the city nearest to it. The internet users of a country (people times share of users, of the latest year known)
    are split over the regions that lie in it by the people of its cities nearest to each, within 300 km.

    Parameters
    ----------
    source
        Folder of the tables: GeoNames' cities and countries, Our World in Data's share of internet users.
    country
        Whose list all regions follow; None: each the list of the nearest city whose country has one.
    listed
        Countries that have lists in every week.

    Raises
    ------
    InputError
        An unknown country, or none given and no table of cities.
    """
    if country is not None and country not in listed:
        mend = f"give one of {', '.join(sorted(listed))}"
        raise InputError(
            Problem(
                table="arguments", column="--country", value=country,
                message="no list of this country in each of the weeks", mend=mend,
            )
        )  # fmt: skip
    problems: list[Problem] = []
    path = find_file(source, CITIES, problems, optional=True)
    if problems:
        raise InputError(problems)
    regions = network.regions
    if path is None:
        if country is None:
            mend = f"give --country, or put GeoNames' cities under {source} as geonames_cities15000.csv.gz"
            raise InputError(Problem(table=CITIES, message="nothing tells the countries of the regions", mend=mend))
        return Places(
            country=np.full(len(regions), country, object), subscribers=regions["subscribers"].to_numpy(float),
            timezone=regions["timezone"].to_numpy(), known=False,
        )  # fmt: skip
    cities = read_cities(path)
    if "countrycode" not in cities:
        mend = "add the column (ISO code of two letters)"
        raise InputError(Problem(table=path.name, column="countrycode", message="missing column", mend=mend))
    of_node = network.nodes.set_index("node").loc[regions["node"]]
    lat, lon = of_node["lat"].to_numpy(float), of_node["lon"].to_numpy(float)
    home = cities["countrycode"].to_numpy()[nearest_cities(lat, lon, cities)]
    near = cities[cities["countrycode"].isin(listed)]
    follows = np.full(len(regions), country, object)
    if country is None:
        follows = near["countrycode"].to_numpy()[nearest_cities(lat, lon, near)]
    users = _internet_users(source, pd.unique(home))
    return Places(
        country=follows,
        subscribers=regions["subscribers"].to_numpy(float) if users is None else _split(users, home, lat, lon, cities),
        timezone=np.array(nearest_timezones(lat, lon, cities), object),
        known=True,
    )


def _split(users: pd.Series, home: np.ndarray, lat: np.ndarray, lon: np.ndarray, cities: pd.DataFrame) -> np.ndarray:
    """(R,) users of each country over its regions by the people of its cities nearest to each; the median city is the least that counts."""
    people = np.full(len(home), float(cities["population"].median()))
    for country, rows in pd.Series(range(len(home))).groupby(home):
        at = rows.to_numpy()
        places, of_place = np.unique(np.column_stack([lat[at], lon[at]]), axis=0, return_inverse=True)
        own = cities[cities["countrycode"] == country]
        near = nearby_population(places[:, 0], places[:, 1], own)[of_place] / np.bincount(of_place)[of_place]
        people[at] = np.maximum(near, people[at])
    total = pd.Series(people).groupby(home).transform("sum").to_numpy()
    return np.asarray(np.round(users.loc[home].to_numpy() * people / total))


def _internet_users(source: Path, countries: np.ndarray) -> pd.Series | None:
    """People of each country times the share of internet users, that of all countries where it is not known; None where a table is not there."""
    population = read_geography(source, "netflix_population", POPULATION)
    internet = read_geography(source, "netflix_internet", INTERNET)
    if population is None or internet is None:
        return None
    latest = internet[internet["Code"] != ""].sort_values("Year").groupby("Code")["Individuals"].last() / 100
    by_country = population.set_index("iso")
    if missing := [name for name in countries if name not in by_country.index]:
        mend = "add its row: iso, iso3, population"
        raise InputError(
            Problem(table=POPULATION, column="iso", value=missing[0], message="the country is missing", mend=mend)
        )
    rows = by_country.loc[countries]
    share = rows["iso3"].map(latest).fillna(float(latest.mean()))
    return rows["population"] * share
