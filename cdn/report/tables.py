"""The report's tables: which columns, in which order, with which units, and what is best in each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdn.report.data import FORESIGHT, ReportData, value_of
from cdn.report.numbers import NOTHING, column, counts, is_number, number, percents

MOST_LINKS = 20
MOST_SITES = 50
MISSES = ("content", "not-yet-filled", "health")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its head, its cells as text, and the rows that are best in it."""

    head: str
    cells: Sequence[str]
    unit: str = ""
    numeric: bool = True
    best: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table ready for the page; the first column names the rows."""

    caption: str
    columns: Sequence[Column]
    note: str = ""

    @property
    def rows(self) -> Iterable[int]:
        """Row numbers, from 0."""
        return range(len(self.columns[0].cells))


def policies_table(data: ReportData) -> Table:
    """The policies side by side; the best of those that could be run is marked."""
    policies = data.policies
    real = [i for i, p in enumerate(policies) if p.get("policy") not in FORESIGHT]

    def measure(head: str, unit: str, key: str, shown: Callable[[Sequence[object]], list[str]], better: int) -> Column:
        values = [value_of(p, key) for p in policies]
        return Column(head=head, unit=unit, cells=shown(values), best=_best(values, real, better))

    columns = [
        Column(head="Policy", cells=[str(p.get("policy", "")) for p in policies], numeric=False),
        measure("Byte hit ratio", "%", "byte_hit_ratio", percents, 1),
        measure("Request hit ratio", "%", "request_hit_ratio", percents, 1),
        measure("Edge offload", "%", "edge_offload", percents, 1),
        measure("Serving cost", data.cost_unit, "serving_cost", column, -1),
        measure("Backbone cost", data.cost_unit, "backbone_cost", column, -1),
        measure("Backbone traffic", "GB", "backbone_gb", column, -1),
        measure("Footprint", "GB·km", "backbone_gb_km", column, -1),
        Column(head="Filled and pulled", unit="GB", cells=column([_taken_in(p) for p in policies])),
        measure("Busiest link, peak", "Gbit/s", "peak_link_gbps", column, -1),
        measure("Busiest link, 95 %", "Gbit/s", "p95_link_gbps", column, -1),
    ]
    hindsight = " and ".join(FORESIGHT)
    note = f"Bold: best of the policies that can be run; {hindsight} only mark what would be possible."
    return Table(caption="Policies on the same sessions", columns=_drop_empty(columns), note=note)


def _taken_in(policy: Mapping[str, object]) -> float:
    """GB that went into the sites, by fills and by pulls of reactive caches alike; NaN where neither is known."""
    known = [key for key in ("fill_gb", "fetched_gb") if key in policy]
    return sum(value_of(policy, key) for key in known) if known else float("nan")


def misses_table(data: ReportData) -> Table | None:
    """Sessions not served by the region's best-ranked site, by class; None where no policy reports them."""
    rows = [(str(p.get("policy", "")), _misses(p)) for p in data.policies]
    if not any(found for _, found in rows):
        return None
    classes = [*MISSES, *sorted({name for _, found in rows for name in found} - set(MISSES))]
    columns = [Column(head="Policy", cells=[name for name, _ in rows], numeric=False)]
    columns += [
        Column(head=name.capitalize(), unit="sessions", cells=counts([found.get(name) for _, found in rows]))
        for name in classes
    ]
    return Table(caption="Misses by class", columns=columns)


def decomposition_table(data: ReportData) -> Table:
    """What planning gained over reacting, and how the distance to perfect foresight divides."""
    return Table(
        caption="Where the cost goes",
        columns=[
            Column(head="Part", cells=[label for label, _, _ in data.decomposition], numeric=False),
            Column(head="Cost a day", unit=data.cost_unit, cells=column([value for _, value, _ in data.decomposition])),
            Column(head="What it is", cells=[text for _, _, text in data.decomposition], numeric=False),
        ],
    )


def links_table(data: ReportData) -> Table:
    """The busiest link directions by peak over capacity."""
    links = busiest(data.links)
    columns = [
        Column(head="Link", cells=[str(v) for v in links["link"]], numeric=False),
        Column(head="Towards", cells=[str(v) for v in links["towards"]], numeric=False),
        Column(head="Peak use", unit="%", cells=percents(list(links["use"]))),
        Column(head="Peak", unit="Gbit/s", cells=column(list(links["peak_gbps"]))),
        Column(head="95 % of the day", unit="Gbit/s", cells=column(list(links["p95_gbps"]))),
        Column(head="Capacity", unit="Gbit/s", cells=column(list(links["capacity_gbps"]))),
        Column(head="Traffic", unit="GB a day", cells=column(list(links["gb"]))),
    ]
    if "price" in links and (links["price"].fillna(0) > 0).any():
        columns.append(
            Column(head="One more Gbit/s saves", unit=f"{data.cost_unit} a day", cells=column(list(links["price"])))
        )
    note = _rest(len(data.links), len(links), "link directions, by peak use")
    return Table(caption="Busiest links", columns=columns, note=note)


def busiest(links: pd.DataFrame, most: int = MOST_LINKS) -> pd.DataFrame:
    """The ``most`` link directions with the highest peak over capacity, with that ratio as ``use``."""
    use = links["peak_gbps"].to_numpy(float) / links["capacity_gbps"].to_numpy(float)
    order = np.lexsort((links["towards"].astype(str), links["link"].astype(str), -np.nan_to_num(use)))
    return links.assign(use=use).iloc[order[:most]]


def sites_table(data: ReportData) -> Table:
    """Sites by what 10 % more of their storage and throughput would save."""
    sites = data.sites
    worth = tenth_worth(sites)
    listed = sites.assign(worth=worth).iloc[np.lexsort((sites["site"].astype(str), -worth))[:MOST_SITES]]

    def ratio(top: str, bottom: str) -> list[object]:
        room = listed[bottom].to_numpy(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            return list(np.where(np.isfinite(room) & (room > 0), listed[top].to_numpy(float) / room, np.nan))

    def optional(name: str, scale: float = 1.0) -> list[object]:
        return list(listed[name].to_numpy(float) * scale) if name in listed else [None] * len(listed)

    columns = [
        Column(head="Site", cells=[str(v) for v in listed["site"]], numeric=False),
        Column(head="Kind", cells=[str(v) for v in listed["kind"]], numeric=False),
        Column(head="Storage", unit="GB", cells=column(optional("storage_gb"))),
        Column(head="Full", unit="%", cells=percents(ratio("used_gb", "storage_gb"))),
        Column(head="Throughput", unit="Gbit/s", cells=column(optional("throughput_gbps"))),
        Column(head="Peak use", unit="%", cells=percents(ratio("peak_gbps", "throughput_gbps"))),
        Column(head="Served", unit="GB a day", cells=column(optional("served_gb"))),
        Column(head="Served as best site", unit="%", cells=percents(optional("hit_share"))),
        Column(head="One more TB saves", unit=f"{data.cost_unit} a day", cells=column(optional("storage_price", 1000))),
        Column(
            head="One more Gbit/s saves", unit=f"{data.cost_unit} a day", cells=column(optional("throughput_price"))
        ),
    ]
    note = _rest(len(sites), len(listed), "sites, by what 10 % more storage and throughput would save")
    return Table(
        caption="Sites by what a tenth more storage and throughput would save", columns=_drop_empty(columns), note=note
    )


def tenth_worth(sites: pd.DataFrame) -> np.ndarray:
    """(S,) what 10 % more storage and throughput would save a day at the marginal prices; 0 without prices or at origins."""
    total = np.zeros(len(sites))
    for price, room in (("storage_price", "storage_gb"), ("throughput_price", "throughput_gbps")):
        if price in sites:
            product = sites[price].to_numpy(float) * np.where(
                np.isfinite(sites[room].to_numpy(float)), sites[room].to_numpy(float), 0
            )
            total += 0.1 * np.nan_to_num(product)
    return total


def backtest_table(data: ReportData) -> Table:
    """Every forecaster on the days before."""
    frame = data.backtest
    best = {
        name: _best([abs(v - target) for v in pd.to_numeric(frame[name])], range(len(frame)), -1)
        for name, target in (("wape", 0.0), ("bias", 0.0), ("coverage", 0.8))
    }
    columns = [
        Column(head="Model", cells=[str(v) for v in frame["model"]], numeric=False),
        Column(head="WAPE", unit="%", cells=percents(list(frame["wape"])), best=best["wape"]),
        Column(head="Bias", unit="%", cells=percents(list(frame["bias"])), best=best["bias"]),
        Column(head="Within 10–90 % band", unit="%", cells=percents(list(frame["coverage"])), best=best["coverage"]),
        *_more_scores(frame),
    ]
    return Table(caption="Forecast models on past days", columns=_drop_empty(columns), note="Bold: best in the column.")


def _more_scores(frame: pd.DataFrame) -> list[Column]:
    """The scores that not every backtest has."""
    columns = []
    for name, head, better in (
        ("mase", "MASE", -1),
        ("precision_at_10", "Precision@10", 1),
        ("ndcg_at_10", "NDCG@10", 1),
        ("regret", "Regret of the plan", -1),
        ("seconds", "Time", -1),
    ):
        if name not in frame:
            continue
        values = [value_of({name: v}, name) for v in frame[name]]
        best = _best(values, range(len(values)), better)
        cells = percents(values) if name == "regret" else column(values, 3)
        columns.append(Column(head=head, unit={"regret": "%", "seconds": "s"}.get(name, ""), cells=cells, best=best))
    return columns


FILL_LABELS = {
    "transfers": "Transfers",
    "gb": "Data moved, GB",
    "finished_share": "Finished inside the fill windows, %",
    "latest_end": "Last transfer ends (UTC)",
    "evictions": "Files dropped",
}


def fill_table(data: ReportData) -> Table:
    """The night's transfers in a few lines."""
    rows = [(label, _fill_value(key, data.fill[key])) for key, label in FILL_LABELS.items() if key in data.fill]
    sources = data.fill.get("gb_by_source")
    if isinstance(sources, Mapping):
        rows += [(f"From {source}, GB", number(gb, 4)) for source, gb in sources.items()]
    return Table(
        caption="Transfers of the night",
        columns=[
            Column(head="Measure", cells=[a for a, _ in rows], numeric=False),
            Column(head="Value", cells=[b for _, b in rows]),
        ],
    )


def _fill_value(key: str, value: object) -> str:
    if key == "finished_share":
        return percents([value])[0]
    if key in ("transfers", "evictions"):
        return counts([value])[0]
    return number(value, 4) if is_number(value) else str(value or NOTHING).replace("T", " ")


def _misses(policy: Mapping[str, object]) -> Mapping[str, object]:
    found = policy.get("misses")
    return {str(k).replace("_", "-"): v for k, v in found.items()} if isinstance(found, Mapping) else {}


def _best(values: Sequence[float], among: Iterable[int], better: int) -> frozenset[int]:
    """Rows whose value is the highest (``better`` 1) or lowest (-1); none where all are alike."""
    known = [(better * values[i], i) for i in among if values[i] == values[i]]
    if len({value for value, _ in known}) < 2:
        return frozenset()
    top = max(known)[0]
    return frozenset(i for value, i in known if value == top)


def _drop_empty(columns: Sequence[Column]) -> list[Column]:
    return [c for c in columns if not c.numeric or any(cell != NOTHING for cell in c.cells)]


def _rest(total: int, shown: int, what: str) -> str:
    return f"The first {shown} of {total} {what}." if total > shown else ""
