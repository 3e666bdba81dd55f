"""Reactive caches, one a file, behind one protocol; all count bytes, none ever holds more than its capacity."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sim.policies.admission import Admission, AdmitAll, SecondHit, SizeThreshold
from sim.policies.base import CachePolicy
from sim.policies.fifo import FIFO
from sim.policies.lfu import LFU
from sim.policies.lru import LRU
from sim.policies.s3fifo import S3FIFO
from sim.policies.sieve import Sieve
from topology.errors import InputError, Problem

POLICIES: Mapping[str, Callable[[int], CachePolicy]] = MappingProxyType(
    {"lru": LRU, "fifo": FIFO, "lfu": LFU, "s3fifo": S3FIFO, "sieve": Sieve}
)
"""The one place that maps names of settings and commands to policies."""

ADMISSIONS: Mapping[str, Callable[[int], Admission]] = MappingProxyType(
    {"all": lambda _: AdmitAll(), "second_hit": lambda _: SecondHit(), "size": SizeThreshold}
)
"""Rules of admission by name; each is made from the threshold of the rule by size, in bytes."""

__all__ = ["ADMISSIONS", "FIFO", "LFU", "LRU", "POLICIES", "S3FIFO", "Admission", "CachePolicy", "Sieve", "make_policy"]


def make_policy(name: str, capacity_bytes: int) -> CachePolicy:
    """An empty cache.

    Parameters
    ----------
    name
        A key of :data:`POLICIES`.
    capacity_bytes
        >= 0.

    Raises
    ------
    InputError
        If there is no policy of that name.

    Examples
    --------
    >>> cache = make_policy("lru", 10)
    >>> cache.access(7), cache.admit(7, 6), cache.access(7), cache.admit(8, 6)
    (False, [], True, [7])
    """
    if name not in POLICIES:
        raise InputError(
            Problem(
                table="scheme",
                column="policy",
                value=name,
                message="unknown policy",
                mend="use one of " + ", ".join(POLICIES),
            )
        )
    return POLICIES[name](capacity_bytes)
