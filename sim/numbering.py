"""Numbers that the kernel's arrays are ordered by: a bit for each appliance."""

import numpy as np

from sim.arrays import SITE
from sim.ends import NOBODY
from sim.fleet import Fleet

WORD = 64


class Numbers:
    """Appliances numbered by bits: those of a site in one word, or, if they are more than 64, in words of their own; origins behind all of them.

    Parameters
    ----------
    bit
        (A,): the bit of each appliance.
    appliance, site
        (B,) int32: the appliance of each bit, -1 for gaps and origins, and its site.
    where
        (S,) of :data:`sim.arrays.SITE`.
    """

    def __init__(self, fleet: Fleet) -> None:
        count = np.bincount(fleet.appliance_site, minlength=fleet.sites)
        first, used = np.zeros(fleet.sites, np.int64), 0
        for site, size in enumerate(count.tolist()):
            if used % WORD and size > WORD - used % WORD:
                used += WORD - used % WORD
            first[site] = used
            used += size if size <= WORD else -(-size // WORD) * WORD
        order = np.argsort(fleet.appliance_site, kind="stable")
        site_of = fleet.appliance_site[order].astype(np.int64)
        begins = np.searchsorted(site_of, np.arange(fleet.sites))
        self.bit = np.empty(fleet.appliances, np.int64)
        self.bit[order] = first[site_of] + np.arange(fleet.appliances) - begins[site_of]
        origins = np.flatnonzero(fleet.is_origin)
        self.bits = used + len(origins)
        self.appliance, self.site = np.full(self.bits, NOBODY, np.int32), np.zeros(self.bits, np.int32)
        self.appliance[self.bit] = np.arange(fleet.appliances)
        self.site[self.bit], self.site[used:] = fleet.appliance_site, origins
        endless = np.full(fleet.sites, NOBODY)
        endless[origins] = used + np.arange(len(origins))
        word, words = first // WORD, np.maximum(-(-count // WORD), 1)
        masks = [
            ((1 << min(size, WORD)) - 1) << at % WORD for size, at in zip(count.tolist(), first.tolist(), strict=True)
        ]
        self.where = np.zeros(fleet.sites, SITE)
        self.where["word"], self.where["words"] = word, words
        self.where["mask"], self.where["endless"] = np.array(masks, np.uint64), endless
        self.width = int((word + words).max(initial=1))
