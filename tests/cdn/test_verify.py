"""The verifier: it passes what the solvers make, finds every kind of broken limit and false claim, and its bound is true at any prices."""

import json
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cdn.cli.words import unproven_lines
from cdn.placement.exact import solve_exact
from cdn.placement.verify import verify
from demand.demand import write_demand
from tests.strategies_placement import cases
from topology.errors import InputError
from topology.tables import write_table


@pytest.fixture
def plan(planned, tmp_path):
    """A copy of the plan that a test may spoil."""
    return shutil.copytree(planned.plan_folder, tmp_path / "plan")


def edit(plan, table, change):
    write_table(change(pd.read_parquet(plan / f"{table}.parquet").astype(object)), plan / f"{table}.parquet")


def more(**values):
    """Append a row."""
    return lambda frame: pd.concat([frame, pd.DataFrame([values])], ignore_index=True)


def first(**values):
    """Overwrite cells of the first row."""

    def change(frame):
        for column, value in values.items():
            frame.loc[0, column] = value
        return frame

    return change


def claim(plan, **values):
    summary = json.loads((plan / "summary.json").read_text())
    (plan / "summary.json").write_text(json.dumps({**summary, **values}))


def test_what_the_solver_made_holds(planned):
    found = verify(planned.folder, planned.demand, planned.plan_folder)
    summary = planned.plan.summary
    assert found.feasible and not found.violations
    for key in ("objective_cost", "serving_cost", "fill_cost", "origin_only_cost"):
        assert getattr(found, key) == pytest.approx(summary[key], rel=1e-9)
    assert 0 < found.lower_bound <= found.objective_cost
    assert found.stored_copies == len(planned.plan.placement) > 0


def test_the_plan_binds_so_that_breaches_can_be_told(planned):
    """Otherwise the tests below would prove nothing: some site is full and some throughput is shared."""
    assert (planned.plan.prices["price"] > 0).any()
    assert len(planned.plan.assignment) > 0


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("placement", first(appliance="ghost"), "unknown appliance 'ghost' (1 rows)"),
        ("placement", first(site="ghost"), "unknown site 'ghost'"),
        ("placement", first(file="ghost"), "unknown file 'ghost'"),
        ("placement", first(site="delta"), "is not at site 'delta'"),
        ("assignment", first(site="ghost"), "assignment names what does not exist"),
        ("assignment", first(region="ghost"), "assignment names what does not exist"),
        ("assignment", first(share=0.123456), "do not add up to 1"),
    ],
)
def test_a_wrong_row_is_found(planned, plan, table, change, message):
    edit(plan, table, change)
    found = verify(planned.folder, planned.demand, plan)
    assert not found.feasible
    assert any(message in line for line in found.violations), found.violations


def test_an_appliance_that_holds_too_much(planned, plan):
    held = set(pd.read_parquet(plan / "placement.parquet").query("appliance == 'd1'")["file"].astype(str))
    for file in [f for f in planned.catalogue.file_ids if f not in held]:
        edit(plan, "placement", more(appliance="d1", site="delta", file=file))
    lines = verify(planned.folder, planned.demand, plan).violations
    assert any("storage of appliance 'd1' exceeded" in line and "of 5 GB" in line for line in lines)
    assert any("storage of site 'delta' exceeded" in line for line in lines)


def test_a_share_left_to_a_reactive_cache_counts(planned):
    lines = verify(planned.folder, planned.demand, planned.plan_folder, reactive_share=0.5).violations
    assert any("storage of site" in line for line in lines)


def test_throughput(planned, plan):
    """Without its assignment everything goes to the best-ranked holder, which is more than it can serve."""
    edit(plan, "assignment", lambda frame: frame.iloc[:0])
    lines = verify(planned.folder, planned.demand, plan).violations
    assert any("throughput of site" in line and "Gbit/s" in line for line in lines)


def test_links_count_only_where_asked_for(planned, tmp_path):
    folder = shutil.copytree(planned.folder, tmp_path / "net")
    links = pd.read_csv(folder / "links.csv").assign(capacity_gbps=1e-6)
    links.to_csv(folder / "links.csv", index=False)
    assert verify(folder, planned.demand, planned.plan_folder).feasible
    lines = verify(folder, planned.demand, planned.plan_folder, link_limits=True).violations
    assert any("link 'ab' towards" in line for line in lines)


def test_an_assignment_without_demand(planned, plan):
    demand = pd.read_parquet(planned.demand)
    row = pd.read_parquet(plan / "assignment.parquet").iloc[0]
    rest = demand[~((demand["region"] == row["region"]) & (demand["file"] == row["file"]))]
    write_table(rest, plan / "demand.parquet")
    lines = verify(planned.folder, plan / "demand.parquet", plan).violations
    assert any("assignment rows without demand" in line for line in lines)


def test_an_assignment_to_a_site_that_does_not_serve_or_does_not_hold(planned, plan):
    edit(plan, "assignment", first(site="delta"))
    lines = verify(planned.folder, planned.demand, plan, candidates=1).violations
    assert any("does not serve the region" in line for line in lines)
    edit(plan, "placement", lambda frame: frame.iloc[:0])
    lines = verify(planned.folder, planned.demand, plan).violations
    assert any("does not hold the file" in line for line in lines)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"objective_cost": 1.0}, "claims a cost of 1.0"),
        ({"lower_bound": 1e12}, "above its own cost"),
    ],
)
def test_false_claims(planned, plan, claims, message):
    claim(plan, **claims)
    assert any(message in line for line in verify(planned.folder, planned.demand, plan).violations)


def test_a_bound_claimed_above_what_a_plan_costs_less_by_a_hair(planned, plan):
    cost = planned.plan.summary["objective_cost"]
    claim(plan, lower_bound=cost * (1 + 1e-6))
    assert not verify(planned.folder, planned.demand, plan).feasible
    claim(plan, lower_bound=cost)
    assert verify(planned.folder, planned.demand, plan).feasible


def test_other_rules_give_another_cost(planned):
    """Fills that weigh nothing cost nothing; what was there last night is not filled again."""
    at = (planned.folder, planned.demand, planned.plan_folder)
    assert verify(*at, fill_weight=0.0).fill_cost == 0.0
    assert verify(*at, previous=planned.plan_folder).fill_cost == 0.0
    assert verify(*at).fill_cost == pytest.approx(2 * verify(*at, fill_weight=0.07).fill_cost)


def test_a_claimed_bound_that_the_prices_do_not_prove_is_told_by_how_much(planned, plan):
    proven = verify(planned.folder, planned.demand, plan).lower_bound
    claim(plan, lower_bound=proven * (1 + 1e-9))
    assert verify(planned.folder, planned.demand, plan).unproven == 0.0
    edit(plan, "prices", lambda frame: frame.assign(price=0.0))
    found = verify(planned.folder, planned.demand, plan)
    assert found.unproven == pytest.approx(1 - found.lower_bound / proven) and found.unproven > 0
    (line,) = unproven_lines(found)
    assert f"{100 * found.unproven:.3g}" in line


def test_the_demand_of_another_plan_is_refused(planned, plan):
    """Not a plan that breaks its limits: it was never made for this demand."""
    demand = pd.read_parquet(planned.demand)
    for other in (
        demand.iloc[1:],
        demand.assign(gb=demand["gb"] * 1.01),
        demand.assign(peak_gbps=demand["peak_gbps"] * 1.01),
    ):
        write_table(other, plan / "other.parquet")
        with pytest.raises(
            InputError, match=r"not the demand that the plan was made for.*give --demand .*demand\.parquet"
        ):
            verify(planned.folder, plan / "other.parquet", plan)
    shuffled = demand.sample(frac=1.0, random_state=0)
    write_table(shuffled.astype({"region": object, "file": object}), plan / "same.csv")
    assert verify(planned.folder, plan / "same.csv", plan).feasible
    write_table(demand.astype({"file": object}).assign(file=lambda d: "not-" + d["file"]), plan / "demand.parquet")
    with pytest.raises(InputError, match=r"a demand that this network does not know.*make the plan again"):
        verify(planned.folder, planned.demand, plan)


def test_a_plan_without_its_claims_is_refused(planned, plan):
    claim(plan, objective_cost="cheap")
    with pytest.raises(InputError, match="does not give objective_cost and lower_bound"):
        verify(planned.folder, planned.demand, plan)
    (plan / "summary.json").unlink()
    with pytest.raises(InputError, match=r"summary\.json: cannot be read"):
        verify(planned.folder, planned.demand, plan)


def test_what_is_no_plan_is_refused(planned, plan):
    (plan / "placement.parquet").unlink()
    with pytest.raises(InputError, match="no placement table"):
        verify(planned.folder, planned.demand, plan)
    (plan / "placement.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(InputError, match="Parquet"):
        verify(planned.folder, planned.demand, plan)


@given(cases(), st.data())
@settings(max_examples=40, deadline=None)
def test_the_bound_is_true_at_any_prices(case, data):
    """Tests that prices drawn at random, however senseless, never lift the verifier's bound above the proven optimum."""
    assume(len(case.network.links) and len(case.network.appliances))
    optimum = solve_exact(case.problem(), gap=0.0).objective_cost
    price = st.one_of(st.just(0.0), st.floats(0, 5), st.floats(0, 1000))
    rows = [(kind, s, data.draw(price)) for kind in ("storage", "throughput") for s in case.network.site_ids]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, frame in {**case.tables, "titles": case.catalogue.titles, "files": case.catalogue.files}.items():
            write_table(frame, folder / f"{name}.parquet")
        write_demand(case.demand, case.network.region_ids, case.catalogue.file_ids, folder / "demand.parquet")
        case.write_before(folder / "before")
        nothing = pd.DataFrame({"appliance": [], "site": [], "file": []})
        write_table(nothing.astype(object), folder / "plan" / "placement.parquet")
        write_table(pd.DataFrame(rows, columns=["kind", "id", "price"]), folder / "plan" / "prices.parquet")
        (folder / "plan/summary.json").write_text('{"objective_cost": 0.0, "lower_bound": 0.0}')
        found = verify(folder, folder / "demand.parquet", folder / "plan", previous=folder / "before", **case.rules)
    assert found.lower_bound <= optimum * (1 + 1e-7) + 1e-7
