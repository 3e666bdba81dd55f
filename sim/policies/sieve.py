"""SIEVE: a queue with a hand that moves from the oldest to the newest file and evicts the first that was not asked for since the hand last passed.

References
----------
Y. Zhang, J. Yang, Y. Yue, Y. Vigfusson, K. V. Rashmi, "SIEVE is simpler than LRU", NSDI 2024, algorithm 1.
"""


class Sieve:
    """Files in the order of their admission, in a ring through ``_older`` and ``_newer`` with None as the end of both sides."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self._sizes: dict[int, int] = {}
        self._asked: dict[int, bool] = {}
        self._newer: dict[int | None, int | None] = {None: None}
        self._older: dict[int | None, int | None] = {None: None}
        self._hand: int | None = None

    def __contains__(self, file: int) -> bool:
        return file in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def access(self, file: int) -> bool:
        """True on a hit; the hand will spare the file once."""
        if file not in self._sizes:
            return False
        self._asked[file] = True
        return True

    def admit(self, file: int, size_bytes: int) -> list[int]:
        """Store a file as the newest; returns the evicted in the order the hand found them."""
        evicted: list[int] = []
        if size_bytes > self.capacity_bytes or file in self._sizes:
            return evicted
        while self.used_bytes + size_bytes > self.capacity_bytes:
            evicted.append(self._sift())
        newest = self._older[None]
        self._newer[newest] = self._older[None] = file
        self._older[file], self._newer[file] = newest, None
        self._sizes[file], self._asked[file] = size_bytes, False
        self.used_bytes += size_bytes
        return evicted

    def _sift(self) -> int:
        """Move the hand, from the newest on to the oldest, to the first file not asked for since, and evict it."""
        file = self._hand
        while file is None or self._asked[file]:
            if file is not None:
                self._asked[file] = False
            file = self._newer[file]
        older, newer = self._older.pop(file), self._newer.pop(file)
        self._newer[older], self._older[newer] = newer, older
        self._hand = newer
        del self._asked[file]
        self.used_bytes -= self._sizes.pop(file)
        return file
