"""The fill: what changes tonight, from where and when each file comes, and the manifests the appliances read."""

from cdn.fill.difference import Difference, difference
from cdn.fill.manifests import manifests
from cdn.fill.schedule import FillSchedule, schedule_fills

__all__ = ["Difference", "FillSchedule", "difference", "manifests", "schedule_fills"]
