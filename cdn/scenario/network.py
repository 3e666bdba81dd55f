"""A scenario's edits of the network: sizes, losses, links."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cdn.scenario.form import ApplianceEdit, LinkEdit, Scenario, SiteEdit, check_scenario, position
from sim.scheme import Outage
from sim.steering import SteeringChange
from topology.errors import InputError, Problem
from topology.network import TABLES, Network, build_network


def edit_network(network: Network, scenario: Scenario) -> Network:
    """The network as the scenario has it; the one given is left as it is.

    Regions, sites and nodes keep their indices. With ``plan = "keep"`` appliances do too, since the plan names them: what is down is then
    told by :func:`outages`. With ``plan = "replan"`` appliances that are down all day are gone. A link that is down is gone either way, and paths
    go around it.

    Raises
    ------
    InputError
        Unknown names; an origin edited; a site without appliances resized; storage cut under a plan that is kept; regions or sites
        that no path of links joins to an origin any more.
    """
    check_scenario(scenario, network)
    problems = [p for edit in scenario.site for p in _site_problems(network, scenario, edit)]
    if problems:
        raise InputError(problems)
    if not (scenario.site or scenario.appliance or scenario.link):
        return network
    tables: dict[str, pd.DataFrame | None] = {name: getattr(network, name) for name in TABLES}
    tables["steering"] = network.steering
    tables["appliances"] = _edit_appliances(network.appliances, scenario)
    tables["links"] = _edit_links(network.links, scenario.link)
    edited = build_network(tables)
    _check_connected(edited, scenario)
    return edited


def outages(scenario: Scenario, network: Network) -> list[Outage]:
    """The sites and appliances that go out of service in the course of the day and, where the plan is kept, those that are so all day.

    ``network`` is what :func:`edit_network` made.
    """

    def fails(edit: SiteEdit | ApplianceEdit) -> bool:
        return edit.down and (edit.is_timed or scenario.plan == "keep")

    sites = [
        Outage(site=position(network.site_ids, e.site), from_ms=e.from_ms(), to_ms=e.until_ms())
        for e in scenario.site
        if fails(e)
    ]
    appliances = [
        Outage(appliance=position(network.appliance_ids, e.appliance), from_ms=e.from_ms(), to_ms=e.until_ms())
        for e in scenario.appliance
        if fails(e)
    ]
    return sites + appliances


def steering_changes(scenario: Scenario, network: Network) -> list[SteeringChange]:
    """The regions that are steered anew during the day.

    Raises
    ------
    InputError
        If a name is unknown.
    """
    check_scenario(scenario, network)
    return [
        SteeringChange(
            region=position(network.region_ids, edit.region),
            from_ms=edit.from_ms(),
            sites=[position(network.site_ids, site) for site in edit.sites],
        )
        for edit in scenario.steering
    ]


def _edit_appliances(appliances: pd.DataFrame, scenario: Scenario) -> pd.DataFrame:
    storage, throughput = (
        appliances["storage_gb"].to_numpy(float).copy(),
        appliances["throughput_gbps"].to_numpy(float).copy(),
    )
    gone = np.zeros(len(appliances), bool)
    for edit in scenario.site:
        here = (appliances["site"] == edit.site).to_numpy()
        storage[here] = _resize(storage[here], edit.storage_factor, edit.storage_gb)
        throughput[here] = _resize(throughput[here], edit.throughput_factor, edit.throughput_gbps)
        gone |= here & (edit.down and not edit.is_timed)
    for loss in scenario.appliance:
        gone |= (appliances["appliance"] == loss.appliance).to_numpy() & (loss.down and not loss.is_timed)
    edited = appliances.assign(storage_gb=storage, throughput_gbps=throughput)
    return edited[~gone].reset_index(drop=True) if scenario.plan == "replan" else edited


def _resize(values: np.ndarray, factor: float | None, total: float | None) -> np.ndarray:
    """Scaled by a factor, or to a total: in proportion to what is there, evenly where nothing is."""
    if factor is not None:
        return values * factor
    if total is None:
        return values
    whole = values.sum()
    return values * (total / whole) if whole > 0 else np.full(len(values), total / max(1, len(values)))


def _edit_links(links: pd.DataFrame, edits: tuple[LinkEdit, ...]) -> pd.DataFrame:
    capacity = links["capacity_gbps"].to_numpy(float).copy()
    gone = np.zeros(len(links), bool)
    for edit in edits:
        here = (links["link"] == edit.link).to_numpy()
        capacity[here] *= 1.0 if edit.capacity_factor is None else edit.capacity_factor
        gone |= here & edit.down
    return links.assign(capacity_gbps=capacity)[~gone].reset_index(drop=True)


def _site_problems(network: Network, scenario: Scenario, edit: SiteEdit) -> list[Problem]:
    site = position(network.site_ids, edit.site)
    resized = any(
        v is not None for v in (edit.storage_factor, edit.storage_gb, edit.throughput_factor, edit.throughput_gbps)
    )

    def wrong(message: str, mend: str) -> list[Problem]:
        return [
            Problem(table=f"scenario {scenario.name!r}", column="site", value=edit.site, message=message, mend=mend)
        ]

    if network.is_origin[site]:
        return wrong("an origin holds every file and carries any load", "edit an edge site, or the links of the origin")
    if resized and not (network.appliance_site == site).any():
        return wrong("the site has no appliances to resize", "add an appliance to the network")
    wanted = _resize(np.array([network.site_storage_gb[site]]), edit.storage_factor, edit.storage_gb)[0]
    if scenario.plan == "keep" and wanted < network.site_storage_gb[site]:
        return wrong("the kept plan need not fit into less storage", 'make the plan anew: plan = "replan"')
    return []


def _check_connected(network: Network, scenario: Scenario) -> None:
    size = len(network.nodes)
    tail, head = network.link_ends.T
    _, group = connected_components(coo_array((np.ones(len(tail)), (tail, head)), shape=(size, size)), directed=False)
    joined = np.isin(group, group[network.site_node[network.is_origin]])
    problems = []
    for kind, ids, nodes in (
        ("regions", network.region_ids, network.region_node),
        ("sites", network.site_ids, network.site_node),
    ):
        lost = [str(name) for name in ids[~joined[nodes]]]
        if lost:
            names = ", ".join(lost[:20]) + (f" and {len(lost) - 20} more" if len(lost) > 20 else "")
            down = ", ".join(edit.link for edit in scenario.link if edit.down)
            problems.append(
                Problem(
                    table=f"scenario {scenario.name!r}",
                    column="link",
                    value=down,
                    message=f"{kind} disconnected from every origin: {names}",
                    mend="take down fewer links, or give the network a second path there",
                )
            )
    if problems:
        raise InputError(problems)
