"""Files in shards: what runs side by side. Prices go in, use comes out; nothing else travels, so a shard may live anywhere (:mod:`cdn.placement.crew`)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cdn.placement.branch import solve_files
from cdn.placement.choices import Choices, Entries, Opening
from cdn.placement.control import PriceVector
from cdn.placement.facility import improve
from cdn.placement.floors import FloorTable, pin, solve_floored
from cdn.placement.groups import Groups

ROUNDS = 20
"""Sweeps of local search over a file's sites at most."""

FEW_NODES = 50
"""Nodes of a tree of a file with floors in an epoch of local search."""


class Use(NamedTuple):
    """What some files use: (S,) GB stored, (S,) GB filled, (R, C) Gbit/s by region and column; and their cost at the prices they paid."""

    storage: np.ndarray
    fill: np.ndarray
    flow: np.ndarray
    cost: float


class Shard:
    """Some of the files, in batches, with the sites each is stored at.

    Epochs solve files within ``groups`` of sites, bounds within ``wide_groups``, which takes longer and loses less where groups meet. ``state`` (F, S) are
    the rules' bits and the pins that hold the floors just now.
    """

    def __init__(
        self, choices: Choices, floors: FloorTable | None, groups: Groups, wide_groups: Groups, batches: Sequence[np.ndarray],
        stored: np.ndarray, state: np.ndarray, node_limit: int,
    ) -> None:  # fmt: skip
        self.choices, self.floors, self.groups, self.wide_groups = choices, floors, groups, wide_groups
        self.batches, self.stored, self.state, self.node_limit = batches, stored, state, node_limit
        self.bounds = np.zeros(len(choices.size))

    def step(self, batch: int, prices: PriceVector, toll: np.ndarray, exact: bool) -> Use:
        """Choose sites anew for the files of one batch at these prices; say what they use now."""
        files = self.batches[batch]
        opening, nodes = opening_at(self.choices, prices), self.node_limit if exact else FEW_NODES
        _, floored = self._by_having(files)
        self._solve(files if exact else floored, toll, opening, self.stored, self.groups, nodes)
        if self.floors is not None:  # however full the sites are: room has its price
            pin(floored, self.floors, opening, self.stored, self.state)
        return self._improve(files, toll, opening._replace(state=self.state), ROUNDS)

    def measure(self, batch: int, prices: PriceVector, toll: np.ndarray) -> Use:
        """What one batch uses as it is stored."""
        return self._improve(self.batches[batch], toll, opening_at(self.choices, prices)._replace(state=self.state), 0)

    def bound(
        self, batches: Sequence[int], prices: PriceVector, toll: np.ndarray, nodes: int, stored: np.ndarray
    ) -> float:
        """Sum of the bounds of some batches' files at these prices, by so many nodes of branch and bound a file at most.

        Where they are stored then is written to ``stored`` (F, S), what the shard holds stays.
        """
        opening, files = opening_at(self.choices, prices), self._files(batches)
        self._solve(files, toll, opening, stored, self.wide_groups, nodes)
        return float(np.sum(self.bounds[files]))

    def bound_apart(
        self, batches: Sequence[int], prices: PriceVector, toll: np.ndarray, nodes: int
    ) -> tuple[float, np.ndarray]:
        """As :meth:`bound`, for who does not share memory with the shard: where the files are stored is returned as a row of bits a file, batch after batch."""
        stored = self.stored.copy()
        return self.bound(batches, prices, toll, nodes, stored), np.packbits(stored[self._files(batches)], axis=1)

    def holdings(self) -> np.ndarray:
        """Where the files are stored, in the same bits."""
        return np.packbits(self.stored[np.concatenate(self.batches)], axis=1)

    def _files(self, batches: Sequence[int]) -> np.ndarray:
        return np.concatenate([self.batches[batch] for batch in batches])

    def _solve(
        self, files: np.ndarray, toll: np.ndarray, opening: Opening, stored: np.ndarray, groups: Groups, nodes: int
    ) -> None:
        """The files' cheapest sites at these prices, floors kept, and their bounds."""
        c, (without, floored) = self.choices, self._by_having(files)
        solve_files(without, c.entries, c.candidates, toll, opening, stored, *groups, nodes, self.bounds)
        if self.floors is not None:
            solve_floored(
                floored, self.floors, c.entries, c.candidates, toll, opening, stored, *groups, nodes, self.bounds
            )

    def _by_having(self, files: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of some files that have no floors, and those that have."""
        if self.floors is None:
            return files, files[:0]
        floored = self.floors.start[files + 1] > self.floors.start[files]
        return files[~floored], files[floored]

    def _improve(self, files: np.ndarray, toll: np.ndarray, opening: Opening, rounds: int) -> Use:
        c = self.choices
        storage, fill, flow = np.zeros(len(c.room)), np.zeros(len(c.room)), np.zeros(toll.shape)
        cost = improve(files, c.entries, c.candidates, toll, opening, self.stored, storage, fill, flow, rounds)
        return Use(storage, fill, flow, float(cost))


def cut(files: int, weight: np.ndarray, shards: int, batches: int, rng: np.random.Generator) -> list[list[np.ndarray]]:
    """Deal files to shards and batches so that each has hot and cold ones: ``[shard][batch]`` file numbers, ascending.

    Parameters
    ----------
    weight
        (F,) >= 0: files are dealt in the order of their weight, shuffled within each round of dealing.
    """
    hands = shards * batches
    order = np.argsort(-weight, kind="stable")
    hand = np.concatenate([rng.permutation(hands) for _ in range(-(-files // hands))])[:files]
    return [[np.sort(order[hand == shard * batches + batch]) for batch in range(batches)] for shard in range(shards)]


def part_of(choices: Choices, floors: FloorTable | None, files: np.ndarray) -> tuple[Choices, FloorTable | None]:
    """The problem of some files alone, numbered in the order given: what a shard in another process must know."""

    def rows(start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = np.diff(start)[files]
        own = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        return own, np.repeat(start[files] - own[:-1], count) + np.arange(own[-1])

    start, at = rows(choices.entries.start)
    entries = Entries(start, *(column[at] for column in choices.entries[1:]))
    part = choices._replace(entries=entries, size=choices.size[files], state=choices.state[files])
    if floors is None:
        return part, None
    start, at = rows(floors.start)
    return part, FloorTable(start, floors.group[at], floors.at_least[at], floors.member)


def opening_at(choices: Choices, prices: PriceVector) -> Opening:
    """What opening costs at these prices."""
    return Opening(
        prices.storage, choices.fill + prices.fill, choices.room, choices.window, choices.size, choices.state
    )
