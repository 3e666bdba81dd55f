"""Who runs the shards: threads of this process, or processes that each know only their own files.

The cut into shards and batches depends on the problem and the seed alone, and sums are taken in the order of the shards: the same seed gives the same plan on
any number of workers of either kind. A crew on other machines would do what :class:`ProcessCrew` does over another wire: send each its
files once (:func:`~cdn.placement.shards.part_of`), then prices, and get uses back, a few thousand numbers a step.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any, Literal

import numpy as np

from cdn.placement.choices import Choices
from cdn.placement.control import PriceVector
from cdn.placement.floors import FloorTable
from cdn.placement.groups import Groups
from cdn.placement.shards import Shard, Use, part_of

Workers = Literal["threads", "processes"]

PARTS = 10
"""Steps in which a bound is taken, so that one that is late can be hurried."""


class Crew:
    """Shards run by threads: the kernels release Python's lock, and all files are in one place.

    Parameters
    ----------
    hands
        Files by shard and batch.
    stored, state
        (F, S): where files are stored at first, and the rules' bits.
    workers
        How many threads.
    """

    def __init__(
        self, choices: Choices, floors: FloorTable | None, groups: Groups, wide_groups: Groups, hands: Sequence[Sequence[np.ndarray]],
        stored: np.ndarray, state: np.ndarray, node_limit: int, workers: int,
    ) -> None:  # fmt: skip
        self.files, self.stored, self.node_limit = [np.concatenate(hand) for hand in hands], stored, node_limit
        self.hands, self.parts = hands, np.array_split(np.arange(len(hands[0])), min(PARTS, len(hands[0])))
        self._start(choices, floors, (groups, wide_groups), hands, state, node_limit, min(workers, len(hands)))

    def _start(
        self, choices: Choices, floors: FloorTable | None, groups: tuple[Groups, Groups], hands: Sequence[Sequence[np.ndarray]],
        state: np.ndarray, node_limit: int, workers: int,
    ) -> None:  # fmt: skip
        self.shards = [Shard(choices, floors, *groups, hand, self.stored, state, node_limit) for hand in hands]
        self.pool = ThreadPoolExecutor(workers) if workers > 1 else None

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown()

    def step(self, batch: int, prices: PriceVector, toll: np.ndarray, *, exact: bool) -> Use:
        """One batch of every shard; see :meth:`~cdn.placement.shards.Shard.step`."""
        return total(self._each("step", batch, prices, toll, exact))

    def measure(self, batch: int, prices: PriceVector, toll: np.ndarray) -> Use:
        """What one batch of every shard uses; see :meth:`~cdn.placement.shards.Shard.measure`."""
        return total(self._each("measure", batch, prices, toll))

    def bound(self, prices: PriceVector, toll: np.ndarray, late: Callable[[], bool]) -> tuple[float, np.ndarray]:
        """The files' bounds at these prices, and where the files are stored then, (F, S). From when it is ``late``, by dual ascent alone: a weaker bound, soon."""
        stored, found = self.stored.copy(), 0.0
        for batches in self.parts:
            found += self._bound(batches.tolist(), prices, toll, 0 if late() else self.node_limit, stored)
        return found, stored

    def _bound(
        self, batches: list[int], prices: PriceVector, toll: np.ndarray, nodes: int, stored: np.ndarray
    ) -> float:
        return float(sum(self._each("bound", batches, prices, toll, nodes, stored)))

    def holdings(self) -> np.ndarray:
        """(F, S) bool: where the files are stored. Not to be written to."""
        return self.stored

    def _each(self, what: str, *args: Any) -> list[Any]:
        """The results of a method of every shard, in the order of the shards."""
        if self.pool is None:
            return [getattr(shard, what)(*args) for shard in self.shards]
        return list(self.pool.map(lambda shard: getattr(shard, what)(*args), self.shards))


class ProcessCrew(Crew):
    """Shards run by processes of their own. What is sent once is each shard's own part of the problem; what travels then is prices and uses."""

    def _start(
        self, choices: Choices, floors: FloorTable | None, groups: tuple[Groups, Groups], hands: Sequence[Sequence[np.ndarray]],
        state: np.ndarray, node_limit: int, workers: int,
    ) -> None:  # fmt: skip
        self.pool = None
        context = multiprocessing.get_context("spawn")
        self.lines: list[Connection] = []
        self.people = []
        for _ in range(workers):
            ours, theirs = context.Pipe()
            person = context.Process(target=_work, args=(theirs,), daemon=True)
            person.start()
            theirs.close()
            self.lines.append(ours)
            self.people.append(person)
        for number, (hand, files) in enumerate(zip(hands, self.files, strict=True)):
            part, own = part_of(choices, floors, files)
            ends = np.cumsum([0, *(len(batch) for batch in hand)])
            batches = [np.arange(a, b) for a, b in pairwise(ends)]
            self.lines[number % workers].send(
                (part, own, *groups, batches, self.stored[files], state[files], node_limit)
            )

    def __exit__(self, *_: object) -> None:
        for line in self.lines:
            line.close()  # which ends the worker
        for person in self.people:
            person.join()

    def _bound(
        self, batches: list[int], prices: PriceVector, toll: np.ndarray, nodes: int, stored: np.ndarray
    ) -> float:
        found = self._each("bound_apart", batches, prices, toll, nodes)
        for hand, (_, rows) in zip(self.hands, found, strict=True):
            _unpack(np.concatenate([hand[batch] for batch in batches]), rows, stored)
        return float(sum(value for value, _ in found))

    def holdings(self) -> np.ndarray:
        """(F, S) bool: where the files are stored."""
        stored = np.zeros_like(self.stored)
        for files, rows in zip(self.files, self._each("holdings"), strict=True):
            _unpack(files, rows, stored)
        return stored

    def _each(self, what: str, *args: Any) -> list[Any]:
        for line in self.lines:
            line.send((what, args))
        found = [line.recv() for line in self.lines]
        for answer in found:
            if isinstance(answer, BaseException):
                raise answer
        return [found[number % len(self.lines)][number // len(self.lines)] for number in range(len(self.files))]


def _unpack(files: np.ndarray, rows: np.ndarray, stored: np.ndarray) -> None:
    """Write rows of bits to the files' rows of ``stored`` (F, S)."""
    stored[files] = np.unpackbits(rows, axis=1, count=stored.shape[1]).astype(bool)


def _work(line: Connection) -> None:
    """A worker: takes in shards, then answers for all of them, until the line is closed."""
    shards: list[Shard] = []
    while True:
        try:
            message = line.recv()
        except (EOFError, KeyboardInterrupt):
            return
        if not isinstance(message[0], str):
            shards.append(Shard(*message))
            continue
        what, args = message
        try:
            line.send([getattr(shard, what)(*args) for shard in shards])
        except Exception as error:
            line.send(error)


def total(uses: Sequence[Use]) -> Use:
    """The sum, in the order given."""
    first, *others = uses
    storage, fill, flow, cost = first
    for use in others:
        storage, fill, flow, cost = storage + use.storage, fill + use.fill, flow + use.flow, cost + use.cost
    return Use(storage, fill, flow, cost)
