"""HiGHS and CBC behind PuLP: started from a known plan, ended at their time limit or once told, and made to say what ended them."""

import subprocess
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import highspy
import numpy as np
import pulp

from cdn.placement.problem import STOPPED, TIME_LIMIT
from topology.errors import InputError
from topology.errors import Problem as Wrong

FINISHED = "finished"
"""What ended an engine, if neither :data:`TIME_LIMIT` nor :data:`STOPPED`; other ends have the engine's own words."""

LOOK = 0.05
"""Seconds between two looks at whether to stop."""

_ENDS = {
    highspy.HighsModelStatus.kOptimal: FINISHED,
    highspy.HighsModelStatus.kObjectiveTarget: FINISHED,
    highspy.HighsModelStatus.kTimeLimit: TIME_LIMIT,
    highspy.HighsModelStatus.kInterrupt: STOPPED,
}


class WarmHiGHS(pulp.HiGHS):  # type: ignore[misc]
    """PuLP's HiGHS, started from the variables' present values."""

    name, stop, end = "HiGHS", None, ""

    def callSolver(self, lp: Any) -> None:  # noqa: N802 - PuLP's name
        """Hand the start over, then solve."""
        start = highspy.HighsSolution()
        start.col_value = [v.varValue or 0.0 for v in lp.variables()]
        lp.solverModel.setSolution(start)
        run(lp.solverModel, self.stop)
        status = lp.solverModel.getModelStatus()
        self.end = _ENDS.get(status) or lp.solverModel.modelStatusToString(status).lower()


def run(highs: highspy.Highs, stop: Callable[[], bool] | None) -> None:
    """Run HiGHS, in a thread so that Ctrl-C is heard meanwhile; once ``stop`` says so, it ends at its next look."""
    highs.HandleUserInterrupt = True
    solving = threading.Thread(target=highs.run, daemon=True)
    solving.start()
    try:
        while solving.is_alive():
            solving.join(LOOK)
            if stop is not None and stop():
                highs.cancelSolve()
    except KeyboardInterrupt:
        highs.cancelSolve()
        raise


def stopped_cbc(kind: Any) -> Any:
    """PuLP's class for a CBC, made to end at its time limit: CBC itself looks at the clock neither in its presolve nor in its first linear program."""

    class StoppedCBC(kind):  # type: ignore[misc]
        name, stop, end = "CBC", None, ""

        def solve_CBC(self, lp: Any, use_mps: bool = True) -> int:  # noqa: ARG002, N802 - PuLP's name and form
            """Solve in a process of its own that is killed at the limit, or once told to stop; then there is no solution."""
            mps, solution, start = self.create_tmp_files(lp.name, "mps", "sol", "mst")
            try:
                variables, names, rows, _ = lp.writeMPS(mps, rename=1)
                call = [self.path, mps]
                if self.optionsDict.get("warmStart"):
                    self.writesol(start, lp, variables, names, rows)
                    call += ["-mips", start]
                call += [
                    "-sec",
                    str(self.timeLimit),
                    *(word for option in self.getOptions() for word in f"-{option}".split()),
                ]
                call += ["-solve", "-printingOptions", "all", "-solution", solution]
                self.end = _run_program(call, self.timeLimit, self.stop or (lambda: False))
                if self.end != FINISHED:
                    lp.assignStatus(pulp.LpStatusNotSolved, pulp.LpSolutionNoSolutionFound)
                    return int(pulp.LpStatusNotSolved)
                status, values, _, _, _, found = self.readsol_MPS(solution, lp, variables, names, rows)
                if found != pulp.LpSolutionOptimal:
                    with open(solution) as lines:  # noqa: PTH123 - a name of PuLP's
                        said = lines.readline().partition(" - ")[0].strip().lower()
                    self.end = TIME_LIMIT if said == "stopped on time" else said
                lp.assignVarsVals(values)
                lp.assignStatus(status, found)
                return int(status)
            finally:
                self.delete_tmp_files(mps, solution, start)

    return StoppedCBC


def _run_program(call: list[str], seconds: float, stop: Callable[[], bool]) -> str:
    """Run a program to its end, but no longer than the limit, or until told to stop; says what ended it."""
    until = time.monotonic() + seconds
    with subprocess.Popen(call, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - the program that PuLP found
        try:
            while process.poll() is None:
                if time.monotonic() > until:
                    return TIME_LIMIT
                if stop():
                    return STOPPED
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK)
        finally:
            process.kill()
    if stop():  # a terminal tells the program, too
        return STOPPED
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, call)
    return FINISHED


def refuse_unknown(solver: str) -> None:
    """Raise InputError if there is no such solver, or it is not installed."""
    if solver not in ("highs", "cbc"):
        raise InputError(
            Wrong(table="arguments", column="--solver", value=solver, message="unknown solver", mend="use highs or cbc")
        )
    if solver == "cbc" and _cbc() is None:
        mend = "install Debian's package coinor-cbc or 'pip install pulp[cbc]' (600 MB), or use highs"
        raise InputError(
            Wrong(table="arguments", column="--solver", value=solver, message="no CBC program is installed", mend=mend)
        )


def _cbc() -> Any:
    """PuLP's class for the CBC that there is: the one on the path, else the one that PuLP brings along; None without any."""
    with warnings.catch_warnings():  # PuLP 4 brings none along
        warnings.simplefilter("ignore", DeprecationWarning)
        return next((kind for kind in (pulp.COIN_CMD, pulp.PULP_CBC_CMD) if kind(msg=False).available()), None)


def engine(
    solver: str, gap: float, seconds: float, threads: int, bound: float = -np.inf, *, warm: bool = True, stop: Callable[[], bool] | None = None
) -> Any:  # fmt: skip
    """The solver, told where to stop, HiGHS also at a plan that ``bound`` proves to be within the gap; ``warm`` lets CBC start from the variables' present values.

    Its ``end`` says afterwards what ended it: ``FINISHED``, ``TIME_LIMIT``, ``STOPPED``, or its own words.
    """
    if solver == "highs":
        tight = {"mip_feasibility_tolerance": 1e-9, "primal_feasibility_tolerance": 1e-9}
        target = {"objective_target": bound / (1 - gap)} if gap < 1 and np.isfinite(bound) else {}
        made: Any = WarmHiGHS(
            msg=False, gapRel=gap, timeLimit=seconds, threads=threads, random_seed=0, **tight, **target
        )
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made = stopped_cbc(_cbc())(
                msg=False, gapRel=gap, timeLimit=seconds, threads=threads, warmStart=warm, timeMode="elapsed"
            )  # fmt: skip
    made.stop = stop
    return made
