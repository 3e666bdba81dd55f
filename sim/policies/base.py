"""What a reactive cache must be able to do."""

from typing import Protocol


class CachePolicy(Protocol):
    """A cache that decides what to evict; sizes in bytes, never more than ``capacity_bytes`` held.

    A request for a file is one ``access``; after a miss the owner may ``admit`` the file. ``in`` asks without touching anything.
    """

    capacity_bytes: int
    used_bytes: int

    def __contains__(self, file: int) -> bool:
        """Whether the file is held."""
        ...

    def __len__(self) -> int:
        """Number of files held."""
        ...

    def access(self, file: int) -> bool:
        """Ask for a file: True on a hit, which the policy remembers in its own way."""
        ...

    def admit(self, file: int, size_bytes: int) -> list[int]:
        """Store a file that is not held; returns what was evicted for it. A file larger than the cache is not admitted and evicts nothing."""
        ...
