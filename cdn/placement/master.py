"""Dantzig-Wolfe for up to a few thousand files: the best prices there are, by linear programs over whole placements of each file.

A column is one way to store one file: its cost, the GB it takes at each site and the Gbit/s it draws from each limit. The linear program over the columns
found so far gives prices within a box around the best known (boxstep method, Marsten, Hogan and Blankenship 1975); the files, solved exactly at these prices, give a
bound and new columns. The box moves with the best bound and shrinks when a step fails.
"""

import highspy
import numba as nb
import numpy as np
from scipy.sparse import coo_array, csc_array, hstack

from cdn.placement.choices import PREVIOUS, Candidates, Choices, Entries, Opening
from cdn.placement.control import Limits, PriceVector
from cdn.placement.shards import opening_at

PRIMAL = 4
"""HiGHS's number of the primal simplex method."""


class Master:
    """The columns found so far, and the program over them."""

    def __init__(self, choices: Choices, limits: Limits) -> None:
        self.choices, self.limits = choices, limits
        self.rows = [np.flatnonzero(np.isfinite(limit)) for limit in (limits.storage, limits.fill, limits.rate)]
        limit = [known[rows] for known, rows in zip((limits.storage, limits.fill, limits.rate), self.rows, strict=True)]
        self.limit = np.maximum(np.concatenate(limit), 1e-12)
        self.seen: set[bytes] = set()
        self.file, self.cost = np.zeros(0, np.int64), np.zeros(0)
        self.packed = np.zeros((0, -(-len(choices.room) // 8)), np.uint8)
        self.part = np.zeros(0)
        self.use = csc_array((len(self.limit), 0))
        self.width = 0.2
        self.basis: highspy.HighsBasis | None = None

    def add(self, stored: np.ndarray, toll: np.ndarray) -> int:
        """Take in what each file holds now, served as these tolls have it; returns how many columns are new.

        Parameters
        ----------
        stored
            (F, S) bool.
        toll
            (R, C) per Gbit/s.
        """
        c = self.choices
        R, C = toll.shape
        opening = opening_at(
            c, PriceVector(storage=np.zeros(len(c.room)), fill=np.zeros(len(c.room)), rate=np.zeros(0))
        )
        cost, way = describe(c.entries, c.candidates, toll, opening, stored)
        packed = np.packbits(stored, axis=1)
        new = []
        for f, row in enumerate(packed):
            key = f.to_bytes(4, "little") + row.tobytes() + way[c.entries.start[f] : c.entries.start[f + 1]].tobytes()
            if key not in self.seen:
                self.seen.add(key)
                new.append(f)
        files = np.array(new, np.int64)
        if not len(files):
            return 0
        column_of = np.full(len(cost), -1)
        column_of[files] = np.arange(len(files))
        entry_column = column_of[np.repeat(np.arange(len(cost)), np.diff(c.entries.start))]
        mine = entry_column >= 0
        pair = c.entries.region[mine].astype(np.int64) * C + way[mine]
        flows = coo_array((c.entries.peak[mine], (pair, entry_column[mine])), shape=(R * C, len(files))).tocsc()
        size = c.size[files][:, None] * stored[files]
        fresh = size * ((c.state[files] & PREVIOUS) == 0)
        use = np.concatenate([size.T[self.rows[0]], fresh.T[self.rows[1]], (c.rates @ flows).toarray()[self.rows[2]]])
        self.file = np.concatenate([self.file, files])
        self.cost = np.concatenate([self.cost, cost[files]])
        self.packed = np.concatenate([self.packed, packed[files]])
        self.use = csc_array(hstack([self.use, csc_array(use)]))
        return len(files)

    def prices(self, centre: PriceVector) -> PriceVector:
        """The shadow prices of the program, within the box around known prices."""
        known = self._flat(centre) * self.limit
        reach = self.width * np.maximum(known, 1e-2 * float(known.max(initial=0.0)))
        files, count, rows = len(self.choices.size), len(self.cost), len(self.limit)
        spare = coo_array(
            (np.repeat([-1.0, 1.0], rows), (files + np.tile(np.arange(rows), 2), np.arange(2 * rows))),
            shape=(files + rows, 2 * rows),
        )
        matrix = csc_array(hstack([self._columns(), spare]))
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = matrix.shape
        lp.col_cost_ = np.concatenate([self.cost, known + reach, -np.maximum(known - reach, 0.0)])
        lp.col_lower_, lp.col_upper_ = np.zeros(lp.num_col_), np.full(lp.num_col_, highspy.kHighsInf)
        lp.row_lower_ = lp.row_upper_ = np.ones(files + rows)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.passModel(lp)
        if self.basis is not None:
            solver.setOptionValue("simplex_strategy", PRIMAL)  # new columns and costs leave the last solution feasible
            solver.setBasis(_extended(self.basis, count, 2 * rows))
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal or count == 0:
            self.basis = None
            return centre
        self.basis, self.part = solver.getBasis(), np.array(solver.getSolution().col_value)[:count]
        return self._unflat(np.maximum(-np.array(solver.getSolution().row_dual)[files:], 0.0) / self.limit)

    def rounded(self, number: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Placements, (F, S) bool each: every file as one of its columns, drawn by their parts in the last program.

        All but about as many files as there are limits have a column of part 1.
        """
        if not len(self.part):
            return []
        order = np.argsort(self.file[: len(self.part)], kind="stable")
        reached = np.cumsum(np.clip(self.part[order], 0.0, 1.0))
        last = np.searchsorted(self.file[order], np.arange(len(self.choices.size)), side="right") - 1
        low, high = np.concatenate([[0.0], reached[last[:-1]]]), reached[last]
        placements = []
        for _ in range(number):
            drawn = np.searchsorted(reached, low + (high - low) * rng.random(len(last)), side="right")
            rows = self.packed[order[np.minimum(drawn, last)]]
            placements.append(np.unpackbits(rows, axis=1, count=len(self.choices.room)).astype(bool))
        return placements

    def _columns(self) -> csc_array:
        """One row a file, to be chosen once, then the limits, each scaled to 1."""
        files, count = len(self.choices.size), len(self.cost)
        use = coo_array(self.use)
        rows = np.concatenate([self.file, files + use.row])
        cols = np.concatenate([np.arange(count), use.col])
        values = np.concatenate([np.ones(count), use.data / self.limit[use.row]])
        return coo_array((values, (rows, cols)), shape=(files + len(self.limit), count)).tocsc()

    def _flat(self, prices: PriceVector) -> np.ndarray:
        return np.concatenate(
            [p[rows] for p, rows in zip((prices.storage, prices.fill, prices.rate), self.rows, strict=True)]
        )

    def _unflat(self, price: np.ndarray) -> PriceVector:
        parts = np.split(price, np.cumsum([len(rows) for rows in self.rows])[:-1])
        full = [np.zeros(len(limit)) for limit in (self.limits.storage, self.limits.fill, self.limits.rate)]
        for target, rows, part in zip(full, self.rows, parts, strict=True):
            target[rows] = part
        return PriceVector(storage=full[0], fill=full[1], rate=full[2])


def _extended(basis: highspy.HighsBasis, columns: int, spare: int) -> highspy.HighsBasis:
    """The basis with columns that have come since, which stand before the last ``spare`` ones, out of it."""
    known = list(basis.col_status)
    new = [highspy.HighsBasisStatus.kLower] * (columns + spare - len(known))
    longer = highspy.HighsBasis()
    longer.col_status = known[: len(known) - spare] + new + known[len(known) - spare :]
    longer.row_status, longer.valid = basis.row_status, True
    return longer


@nb.njit(cache=True, nogil=True)
def describe(
    entries: Entries, candidates: Candidates, toll: np.ndarray, opening: Opening, stored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cost of every file as it is stored, tolls not counted, each entry served by what is cheapest with them: (F,), and (N,) its column."""
    F, S = stored.shape
    K = candidates.site.shape[1]
    cost = np.zeros(F)
    way = np.zeros(len(entries.region), np.int16)
    for f in range(F):
        for s in range(S):
            if stored[f, s] and not opening.state[f, s] & PREVIOUS:
                cost[f] += opening.size[f] * opening.fill[s]
        for n in range(entries.start[f], entries.start[f + 1]):
            r, gb, peak = entries.region[n], entries.gb[n], entries.peak[n]
            low, true = np.inf, 0.0
            for c in range(toll.shape[1]):
                if c < K:
                    s = candidates.site[r, c]
                    if s < 0 or not stored[f, s]:
                        continue
                    serving = gb * candidates.cost[r, c]
                else:
                    serving = gb * candidates.origin_cost[r, c - K]
                value = serving + peak * toll[r, c]
                if value < low:
                    low, true = value, serving
                    way[n] = c
            cost[f] += true
    return cost, way
