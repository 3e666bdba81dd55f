"""What the report says in words: the few sentences an executive reads, and the terms it uses."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cdn.report.data import ReportData, value_of
from cdn.report.numbers import number, percent
from cdn.report.tables import tenth_worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One large figure with what it means."""

    label: str
    value: str
    detail: str


def headlines(data: ReportData) -> list[Headline]:
    """The figures at the top of the page; only those that are known."""
    plan, reactive, oracle = data.policy("plan"), data.reactive(), data.policy("oracle")
    found: list[Headline] = []
    gap, saved = value_of(data.summary, "gap"), saved_share(data)
    if known(gap):
        found.append(
            Headline(
                label="Proven gap",
                value=percent(gap),
                detail="the most that any better placement could still save",
            )
        )
    if known(saved):
        found.append(
            Headline(
                label="Saved by caching",
                value=percent(saved),
                detail="of what serving everything from the origin would cost",
            )
        )
    ratio = value_of(plan, "byte_hit_ratio")
    if known(ratio):
        parts = [f"{shown_name(p)} {percent(value_of(p, 'byte_hit_ratio'))}" for p in (reactive, oracle) if p]
        found.append(Headline(label="Byte hit ratio of the plan", value=percent(ratio), detail=" · ".join(parts)))
    cheaper = 1 - value_of(plan, "backbone_cost") / _nonzero(value_of(reactive, "backbone_cost"))
    if known(cheaper) and reactive:
        word = "cheaper" if cheaper >= 0 else "dearer"
        found.append(
            Headline(
                label=f"Backbone cost against {shown_name(reactive)}",
                value=f"{percent(abs(cheaper))} {word}",
                detail="on the same sessions, fills included",
            )
        )
    return found


def in_short(data: ReportData) -> list[str]:
    """Is the plan good, how does it compare, and which limit costs most: a sentence or two each."""
    return [*_plan_words(data), *_comparison_words(data), *_limit_words(data)]


def saved_share(data: ReportData) -> float:
    """What the plan's serving saves of the cost without any cache; NaN where unknown."""
    return 1 - value_of(data.summary, "serving_cost") / _nonzero(value_of(data.summary, "origin_only_cost"))


def shown_name(policy: Mapping[str, object]) -> str:
    """A policy's name within a sentence."""
    name = str(policy.get("policy", ""))
    return {"lru": "LRU", "lfu": "LFU", "fifo": "FIFO", "s3fifo": "S3-FIFO", "sieve": "SIEVE"}.get(name, name)


def known(value: float) -> bool:
    """Whether a figure is there."""
    return math.isfinite(value)


def _plan_words(data: ReportData) -> list[str]:
    cost, bound, gap = (value_of(data.summary, key) for key in ("objective_cost", "lower_bound", "gap"))
    if not known(cost):
        return ["There is no plan summary, so nothing can be said about the plan's cost."]
    words = f"The plan costs {number(cost, 4)} {data.cost_unit} a day"
    if known(bound) and known(gap):
        words += f"; no placement within the same limits can cost less than {number(bound, 4)}, so at most {percent(gap)} is left to gain by planning better"
    serving = value_of(data.summary, "serving_cost")
    if known(serving) and cost > 0:
        words += f". Tonight's fills make up {percent(1 - serving / cost)} of the plan's cost, at the weight planning gives them"
    return [words + "."]


def _comparison_words(data: ReportData) -> list[str]:
    plan, reactive, oracle = data.policy("plan"), data.reactive(), data.policy("oracle")
    if plan is None:
        return ["No rehearsal of the plan was found; its hit ratio and link load are not known yet."]
    words: list[str] = []
    if reactive:
        name, ours, theirs = (
            shown_name(reactive),
            value_of(plan, "byte_hit_ratio"),
            value_of(reactive, "byte_hit_ratio"),
        )
        sentence = f"On the same sessions the plan serves {percent(ours)} of the bytes from each region's best site; {name} on every site serves {percent(theirs)}"
        cost, other = value_of(plan, "backbone_cost"), value_of(reactive, "backbone_cost")
        if known(cost) and known(other) and other > 0:
            change = cost / other - 1
            sentence += f". Over the backbone the plan costs {percent(abs(change))} {'less' if change <= 0 else 'more'} than {name}, fills included"
        words.append(sentence + ".")
    if oracle:
        cost, best = value_of(plan, "backbone_cost"), value_of(oracle, "backbone_cost")
        sentence = f"With perfect foresight the same sites would reach a byte hit ratio of {percent(value_of(oracle, 'byte_hit_ratio'))}"
        if known(cost) and known(best) and cost > 0:
            sentence += (
                f" at a backbone cost {percent(abs(1 - best / cost))} {'below' if best <= cost else 'above'} the plan's"
            )
        words += [sentence + ".", *foresight_words(data.policies)]
    return words


def foresight_words(policies: Sequence[Mapping[str, object]]) -> list[str]:
    """Why the oracle is not the best of these policies, each with its name under ``policy``: empty where it is."""
    oracle = next((p for p in policies if p.get("policy") == "oracle"), None)
    cost, ratio = value_of(oracle, "backbone_cost"), value_of(oracle, "byte_hit_ratio")
    if any(value_of(p, "backbone_cost") < cost or value_of(p, "byte_hit_ratio") > ratio for p in policies):
        return [
            "The oracle is no bound: its plan costs least, within its gap, for the rates that came hour by hour; sessions come one by one and meet full appliances."
        ]
    return []


def _limit_words(data: ReportData) -> list[str]:
    worth = limits(data)
    if not worth:
        return ["No prices of the limits were given, so nothing can be said about which of them costs most."]
    kind, total, name, most = max(worth, key=lambda row: row[1])
    if total <= 0:
        return ["No limit binds: more storage, throughput or link capacity would save nothing."]
    words = (
        f"The limit that costs most is {kind}: a tenth more of it everywhere would save up to {number(total)} {data.cost_unit} a day, "
        f"{number(most)} of that at {name}. These are prices at the margin: each further step saves less."
    )
    return [words]


def limits(data: ReportData) -> list[tuple[str, float, str, float]]:
    """For each kind of limit that has prices: (kind, what 10 % more of all saves a day, the dearest one's name, its part)."""
    found: list[tuple[str, float, str, float]] = []
    names: Sequence[object] = list(data.sites["site"]) if len(data.sites) else []
    for kind, column in (("storage", "storage_price"), ("throughput", "throughput_price")):
        if column in data.sites and names and data.sites[column].notna().any():
            other = "throughput_price" if kind == "storage" else "storage_price"
            worth = tenth_worth(data.sites.drop(columns=other, errors="ignore"))
            found.append((kind, float(worth.sum()), f"site {names[int(worth.argmax())]}", float(worth.max())))
    if "price" in data.links and data.links["price"].notna().any():
        worth = 0.1 * np.nan_to_num(data.links["price"].to_numpy(float) * data.links["capacity_gbps"].to_numpy(float))
        row = data.links.iloc[int(worth.argmax())]
        found.append(
            ("link capacity", float(worth.sum()), f"link {row['link']} towards {row['towards']}", float(worth.max()))
        )
    return found


def _nonzero(value: float) -> float:
    return value or math.nan


GLOSSARY = (
    ("Hit", "A session that the region's best-ranked site serves. The request hit ratio counts sessions, the byte hit ratio their bytes."),
    ("Miss", "A session served from farther away. Content: the best site is not meant to hold the file. Not yet filled: planned, but not there when asked for. Health: held, but the appliance was down or out of throughput."),
    ("Edge offload", "The share of all bytes that no origin had to serve."),
    ("Backbone traffic", "Bytes over the links between the nodes, counted on every link they cross; serving and filling alike."),
    ("Footprint", "Backbone traffic times the length of the links it crosses, in GB·km."),
    ("Backbone cost", "Backbone traffic times each link's cost for one GB. Serving cost is the part spent on serving regions."),
    ("Proven gap", "How far the plan's cost can be, at the very most, above the cheapest placement that the same limits allow; (cost − lower bound) / cost."),
    ("Lower bound", "A cost that no placement can undercut, computed together with the plan."),
    ("Price of a limit", "What one more unit of it would save in a day, at the margin. Zero: the limit does not bind."),
    ("Origin-only cost", "What the day would cost if every byte came from an origin."),
    ("LRU", "A cache that keeps what was asked for last and drops what was not asked for longest; the usual reactive policy."),
    ("Oracle", "The same solver, told the day's real demand beforehand: what perfect foresight could reach."),
    ("plan-filled", "The plan as if every file were in place at midnight; the difference to the plan is the price of filling during the day."),
    ("plan+lru", "A plan made for less storage than there is, and an LRU cache in the share that was left."),
    ("previous", "Last night's plan, kept for another day: what filling nothing tonight would have given."),
    ("95 % link load", "The load that a link stays below in 95 % of the day's five-minute slots; carriers often bill by it."),
    ("WAPE", "Weighted absolute percentage error of a forecast: the sum of all misses over the sum of all demand."),
    ("Bias", "Forecast demand over real demand, less one; positive means too much was expected."),
    ("Within 10–90 % band", "How often the demand that came lay in the forecast's band; 80 % is right."),
    ("MASE", "The forecast's mean error over that of repeating the day before; below 1 is better than repeating."),
    ("Precision@10, NDCG@10", "How many of the ten titles expected to be watched most were, and how well they were ranked; 1 is perfect."),
    ("Peer, tier", "Where a fill comes from when not from an origin: a peer is an appliance of the same site, a tier source one of another edge site."),
)  # fmt: skip
