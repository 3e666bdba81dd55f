"""Import what Netflix publishes: weekly Top 10 lists by country, weekly hours of the global lists, half-yearly engagement reports.

None of these files is part of the project; each user fetches them.
"""

from demand.netflix.importer import import_netflix

__all__ = ["import_netflix"]
