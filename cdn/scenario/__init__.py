"""What-if scenarios: edits of a network and its demand, written in TOML (docs/scenarios.md), and their comparison with the base."""

from cdn.scenario.compare import compare
from cdn.scenario.demand import edit_demand, edit_sessions
from cdn.scenario.form import Scenario, SteeringEdit, check_scenario, clock_ms, nearest, read_scenarios
from cdn.scenario.network import edit_network, outages, steering_changes

__all__ = [
    "Scenario",
    "SteeringEdit",
    "check_scenario",
    "clock_ms",
    "compare",
    "edit_demand",
    "edit_network",
    "edit_sessions",
    "nearest",
    "outages",
    "read_scenarios",
    "steering_changes",
]
