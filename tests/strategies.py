"""Hypothesis strategies shared by the tests: small random networks."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from topology.network import build_network

COSTS = st.one_of(st.just(0.0), st.integers(1, 6).map(float), st.floats(0.001, 10, allow_nan=False))


@st.composite
def network_tables(draw, max_nodes=8, max_extra_links=8, max_regions=5, max_edge_sites=5, max_origins=2, steering=None):
    """Tables of a connected network: a random tree of links and some more, parallel and free ones among them.

    ``steering``: True and False force a steering table or none; None leaves it to chance.
    """
    count = draw(st.integers(2, max_nodes))
    nodes = [f"n{i}" for i in range(count)]
    ends = [(draw(st.integers(0, i - 1)), i) for i in range(1, count)]
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] != pair[1])
    ends += draw(st.lists(pairs, max_size=max_extra_links))
    ends = [(b, a) if draw(st.booleans()) else (a, b) for a, b in ends]
    at = st.integers(0, count - 1)
    regions = draw(st.lists(at, min_size=1, max_size=max_regions))
    edges = draw(st.lists(at, min_size=0, max_size=max_edge_sites))
    origins = draw(st.lists(at, min_size=1, max_size=max_origins))
    sites = [f"s{i}" for i in range(len(edges))] + [f"origin{i}" for i in range(len(origins))]
    kinds = [draw(st.sampled_from(["embedded", "ix"])) for _ in edges] + ["origin"] * len(origins)
    appliances = [(f"a{s}.{i}", f"s{s}") for s in range(len(edges)) for i in range(draw(st.integers(0, 2)))]
    measure = st.floats(0, 100, allow_nan=False)
    tables = {
        "nodes": pd.DataFrame({"node": nodes, "lat": np.linspace(-50, 60, count), "lon": np.linspace(0, 40, count)}),
        "links": pd.DataFrame(
            {
                "link": [f"l{i}" for i in range(len(ends))],
                "source": [nodes[a] for a, _ in ends],
                "target": [nodes[b] for _, b in ends],
                "capacity_gbps": [draw(st.floats(0.1, 100)) for _ in ends],
                "length_km": [draw(st.floats(0, 1000)) for _ in ends],
                "cost_per_gb": [draw(COSTS) for _ in ends],
            }
        ),
        "regions": pd.DataFrame(
            {
                "region": [f"r{i}" for i in range(len(regions))],
                "node": [nodes[i] for i in regions],
                "timezone": "UTC",
                "subscribers": [float(draw(st.integers(0, 1000))) for _ in regions],
            }
        ),
        "sites": pd.DataFrame({"site": sites, "node": [nodes[i] for i in [*edges, *origins]], "kind": kinds}),
        "appliances": pd.DataFrame(
            {
                "appliance": [a for a, _ in appliances],
                "site": [s for _, s in appliances],
                "model": "m",
                "storage_gb": [draw(measure) for _ in appliances],
                "throughput_gbps": [draw(measure) for _ in appliances],
                "fill_gbps": [draw(measure) for _ in appliances],
                "fill_start": "02:00",
                "fill_hours": 12.0,
            }
        ),
    }
    if steering is True or (steering is None and draw(st.booleans())):
        tables["steering"] = draw(steering_tables(tables))
    return tables


@st.composite
def steering_tables(draw, tables):
    """A steering table for the tables of a network: for each region some edge sites and then an origin, ranks with gaps, rows shuffled."""
    names, kinds = tables["sites"]["site"], tables["sites"]["kind"]
    edge, origin = list(names[kinds != "origin"]), list(names[kinds == "origin"])
    rows = []
    for region in tables["regions"]["region"]:
        chosen = draw(st.lists(st.sampled_from(edge), unique=True)) if edge else []
        rank = 0
        for site in [*chosen, draw(st.sampled_from(origin))]:
            rank += draw(st.integers(1, 3))
            rows.append((region, site, rank, draw(COSTS)))
    return pd.DataFrame(draw(st.permutations(rows)), columns=["region", "site", "rank", "cost_per_gb"])


def networks(**limits):
    """Small random networks; ``limits`` as :func:`network_tables` takes them."""
    return network_tables(**limits).map(build_network)
