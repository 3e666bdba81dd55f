"""What tonight's placement changes on every appliance."""

from dataclasses import dataclass

import numpy as np

from topology.placement import Placement


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """Copies to add, to drop and to keep, each sorted by appliance, then file. A move between appliances is an add and a drop."""

    added: Placement
    dropped: Placement
    kept: Placement


def difference(now: Placement, before: Placement) -> Difference:
    """Compare tonight's copies with last night's."""
    width = int(max(now.file.max(initial=0), before.file.max(initial=0))) + 1
    new, old = (p.appliance.astype(np.int64) * width + p.file for p in (now, before))

    def copies(keys: np.ndarray) -> Placement:
        return Placement.of(keys // width, keys % width)

    return Difference(
        added=copies(np.setdiff1d(new, old)),
        dropped=copies(np.setdiff1d(old, new)),
        kept=copies(np.intersect1d(new, old)),
    )
