"""Rules of admission: which files that were missed a cache takes in at all."""

from typing import Protocol


class Admission(Protocol):
    """A rule with a memory of its own for each cache."""

    def admits(self, file: int, size_bytes: int) -> bool:
        """Whether a file that was just missed is let in."""
        ...


class AdmitAll:
    """Every file."""

    def admits(self, file: int, size_bytes: int) -> bool:  # noqa: ARG002  # the protocol's signature
        """Always."""
        return True


class SecondHit:
    """A file that was asked for before, ever: what is asked for once never costs another its place.

    Exact; a Bloom filter does it in little memory, and cleared now and then it also forgets.

    References
    ----------
    B. Maggs, R. Sitaraman, "Algorithmic nuggets in content delivery", CCR 2015, section 4.
    """

    def __init__(self) -> None:
        self._asked: set[int] = set()

    def admits(self, file: int, size_bytes: int) -> bool:  # noqa: ARG002
        """From the second miss on."""
        before = file in self._asked
        self._asked.add(file)
        return before


class SizeThreshold:
    """A file of at most so many bytes."""

    def __init__(self, largest_bytes: int) -> None:
        self.largest_bytes = largest_bytes

    def admits(self, file: int, size_bytes: int) -> bool:  # noqa: ARG002
        """Whether it is small enough."""
        return size_bytes <= self.largest_bytes
