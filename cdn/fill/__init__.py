"""The fill: what changes tonight, from where and when each file comes, and the manifests the appliances read."""

from cdn.fill.difference import Difference, difference
from cdn.fill.manifests import manifest_name, manifests
from cdn.fill.schedule import FillSchedule, schedule_fills
from cdn.fill.sources import KINDS, SourceRules
from cdn.fill.windows import window_ms

__all__ = [
    "KINDS",
    "Difference",
    "FillSchedule",
    "SourceRules",
    "difference",
    "manifest_name",
    "manifests",
    "schedule_fills",
    "window_ms",
]
