"""Random small placement cases: a network, a catalogue, a demand and rules, small enough to be solved exactly in a moment."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from cdn.errors import InfeasiblePlanError
from cdn.placement.build import build_problem
from cdn.placement.exact import solve_exact
from cdn.placement.problem import Problem
from cdn.plan import placement_frame
from demand.catalogue import Catalogue, build_catalogue
from demand.demand import Demand, build_demand
from tests.strategies import network_tables
from topology.network import Network, build_network
from topology.placement import Placement
from topology.tables import write_table


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything a placement is made from."""

    tables: dict[str, pd.DataFrame]
    network: Network
    catalogue: Catalogue
    demand: Demand
    held: Placement
    rules: dict[str, Any]

    @property
    def previous(self) -> np.ndarray:
        """(S, F) bool: what lay at the edge sites last night."""
        return self.held.stored(self.network, len(self.catalogue.files)) & ~self.network.is_origin[:, None]

    def write_before(self, folder: Path) -> Path:
        """Last night's plan, as far as anybody reads it."""
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text("{}")
        write_table(placement_frame(self.held, self.network, self.catalogue), folder / "placement.parquet")
        return folder

    def problem(self) -> Problem:
        return build_problem(self.network, self.catalogue, self.demand, previous=self.previous, **self.rules)


def nudged(problem: Problem, factor: float) -> Problem:
    """The problem with every limit on throughput and links times ``factor``."""
    arcs = problem.arc_capacity_gbps
    return dataclasses.replace(
        problem,
        throughput_gbps=problem.throughput_gbps * factor,
        arc_capacity_gbps=None if arcs is None else arcs * factor,
    )


def solvable(problem: Problem) -> bool:
    try:
        solve_exact(problem, gap=0.01)
    except InfeasiblePlanError:
        return False
    return True


def at_the_very_limit(problem: Problem) -> bool:
    """Whether a hair more or less of throughput and links decides if there is a plan: floating point may then say either."""
    return solvable(nudged(problem, 1 + 1e-5)) and not solvable(nudged(problem, 1 - 1e-5))


@st.composite
def cases(draw: Any, links: bool = False, ruled: bool = False) -> Case:
    """Up to 5 regions, 5 edge sites, 6 files; throughput and storage from nothing to plenty; fills with or without a last night.

    ``ruled``: with pinned and forbidden files, floors on replicas, fill windows and slices of the day as well. Rules may ask for more than there is.
    """
    tables = draw(network_tables(max_nodes=6, max_extra_links=4))
    if ruled:
        for table, column, values in (
            ("sites", "group", ["", "a", "b"]),
            ("regions", "timezone", ["UTC", "Asia/Tokyo", "America/New_York"]),
            ("appliances", "fill_hours", [0.0, 0.001, 12.0]),
        ):
            chosen = [draw(st.sampled_from(values)) for _ in range(len(tables[table]))]
            tables[table] = tables[table].assign(**{column: chosen})
    network = build_network(tables)
    files = draw(st.integers(1, 6))
    size = draw(st.lists(st.floats(0.5, 40), min_size=files, max_size=files))
    names = [f"f{i}" for i in range(files)]
    titles = pd.DataFrame({"title": [f"t{i}" for i in range(files)]})
    encodes = {"file": names, "title": titles["title"], "profile": "p", "bitrate_kbps": 5000.0, "size_gb": size}
    asked = _rules(draw, network, titles["title"]) if ruled else (None, None)
    catalogue = build_catalogue(titles, pd.DataFrame(encodes), None, *asked)
    R = len(network.regions)
    pairs = draw(
        st.lists(st.tuples(st.integers(0, R - 1), st.integers(0, files - 1)), min_size=1, max_size=12, unique=True)
    )
    region, file = np.array(pairs).T
    amount = st.one_of(st.just(0.0), st.floats(0.1, 1000))
    gb = np.array(draw(st.lists(amount, min_size=len(pairs), max_size=len(pairs))))
    rate = st.one_of(st.just(0.0), st.floats(0.01, 60))
    peak = np.array(draw(st.lists(rate, min_size=len(pairs), max_size=len(pairs))))
    A = len(network.appliances)
    held = np.array(draw(st.lists(st.booleans(), min_size=A * files, max_size=A * files)), bool)
    rules = {
        "candidates": draw(st.integers(1, 4)),
        "fill_weight": draw(st.sampled_from([0.0, 0.14, 5.0])),
        "reactive_share": draw(st.sampled_from([0.0, 0.25])),
        "link_limits": links,
        "fill_limits": ruled and draw(st.booleans()),
        "peak_slices": draw(st.sampled_from([1, 3, 24])) if ruled else 1,
    }
    return Case(
        tables=tables, network=network, catalogue=catalogue, demand=build_demand(region, file, gb, peak),
        held=Placement.of(*np.nonzero(held.reshape(A, files))), rules=rules,
    )  # fmt: skip


def _rules(draw: Any, network: Network, titles: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables ``rules`` and ``replicas``."""
    edge = network.sites[~network.is_origin]
    names = edge["site"].tolist()
    pairs = st.tuples(st.sampled_from(titles.tolist()), st.sampled_from(names)) if names else st.nothing()
    pins = draw(st.lists(pairs, max_size=4, unique=True)) if names else []
    kinds = [draw(st.sampled_from(["pinned", "forbidden"])) for _ in pins]
    rules = pd.DataFrame(
        [(t, "", s, kind) for (t, s), kind in zip(pins, kinds, strict=True)],
        columns=["title", "profile", "site", "rule"],
    )
    count = edge["group"].value_counts().to_dict()
    count[""] = len(edge)
    groups = [g for g, sites in count.items() if sites]
    floors = (
        draw(st.lists(st.tuples(st.sampled_from(titles.tolist()), st.sampled_from(groups)), max_size=3, unique=True))
        if groups
        else []
    )
    at_least = [draw(st.integers(1, min(2, count[g]))) for _, g in floors]
    replicas = pd.DataFrame(
        [(t, g, k) for (t, g), k in zip(floors, at_least, strict=True)], columns=["title", "group", "at_least"]
    )
    return rules, replicas
