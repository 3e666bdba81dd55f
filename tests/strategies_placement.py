"""Random small placement cases: a network, a catalogue, a demand and rules, small enough to be solved exactly in a moment."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from cdn.placement.problem import Problem, build_problem
from demand.catalogue import Catalogue, build_catalogue
from demand.demand import Demand, build_demand
from tests.strategies import network_tables
from topology.network import Network, build_network


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything a placement is made from."""

    tables: dict[str, pd.DataFrame]
    network: Network
    catalogue: Catalogue
    demand: Demand
    previous: np.ndarray
    rules: dict[str, Any]

    def problem(self) -> Problem:
        return build_problem(self.network, self.catalogue, self.demand, previous=self.previous, **self.rules)


@st.composite
def cases(draw: Any, links: bool = False) -> Case:
    """Up to 5 regions, 5 edge sites, 6 files; throughput and storage from nothing to plenty; fills with or without a last night."""
    tables = draw(network_tables(max_nodes=6, max_extra_links=4))
    network = build_network(tables)
    files = draw(st.integers(1, 6))
    size = draw(st.lists(st.floats(0.5, 40), min_size=files, max_size=files))
    names = [f"f{i}" for i in range(files)]
    titles = pd.DataFrame({"title": [f"t{i}" for i in range(files)]})
    catalogue = build_catalogue(
        titles,
        pd.DataFrame(
            {"file": names, "title": titles["title"], "profile": "p", "bitrate_kbps": 5000.0, "size_gb": size}
        ),
    )
    R = len(network.regions)
    pairs = draw(
        st.lists(st.tuples(st.integers(0, R - 1), st.integers(0, files - 1)), min_size=1, max_size=12, unique=True)
    )
    region, file = np.array(pairs).T
    amount = st.one_of(st.just(0.0), st.floats(0.1, 1000))
    gb = np.array(draw(st.lists(amount, min_size=len(pairs), max_size=len(pairs))))
    rate = st.one_of(st.just(0.0), st.floats(0.01, 60))
    peak = np.array(draw(st.lists(rate, min_size=len(pairs), max_size=len(pairs))))
    previous = np.array(
        draw(st.lists(st.booleans(), min_size=len(network.sites) * files, max_size=len(network.sites) * files))
    )
    rules = {
        "candidates": draw(st.integers(1, 4)),
        "fill_weight": draw(st.sampled_from([0.0, 0.14, 5.0])),
        "reactive_share": draw(st.sampled_from([0.0, 0.25])),
        "link_limits": links,
    }
    return Case(
        tables=tables, network=network, catalogue=catalogue, demand=build_demand(region, file, gb, peak),
        previous=previous.reshape(len(network.sites), files) & ~network.is_origin[:, None], rules=rules,
    )  # fmt: skip
