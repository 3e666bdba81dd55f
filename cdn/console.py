"""What the command line prints, and how it ends: the only place that prints, reports progress and exits.

Results go to stdout (one JSON document with ``--json``), progress and complaints to stderr. Exit statuses are the contract's: 0 done, 2 the
input or the arguments are wrong, 3 no feasible plan, 4 a guardrail refused to publish, 1 a defect, or no room to write
the output; and 130 after Ctrl-C, as shells have it.
"""

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cdn.documents import json_text
from cdn.errors import GuardrailError, InfeasiblePlanError
from topology.errors import InputError

DONE, DEFECT, WRONG_INPUT, INFEASIBLE, REFUSED = 0, 1, 2, 3, 4
INTERRUPTED = 130

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of the place that is written to, of which neither the program nor its input is the cause."""

PIPE_SECONDS = 2.0
"""Between two lines of progress in a pipe."""

PIPED_WIDTH = 120
"""Columns of a table that no terminal limits."""

stdout = Console(highlight=False, soft_wrap=True, width=None if sys.stdout and sys.stdout.isatty() else PIPED_WIDTH)
stderr = Console(stderr=True, highlight=False)


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Show a spinner on stderr while something runs, and how long it took."""
    began = time.perf_counter()
    with stderr.status(escape(what)):
        yield
    stderr.print(f"[dim]{escape(what)}: {time.perf_counter() - began:.1f} s[/dim]", soft_wrap=True)


@contextmanager
def live(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr whose text the body may change; in a pipe a change is a line, unless the last one is younger than ``PIPE_SECONDS``."""
    began = time.perf_counter()
    last = began - PIPE_SECONDS
    with stderr.status(escape(what)) as status:

        def show(text: str) -> None:
            nonlocal last
            if stderr.is_terminal:
                status.update(escape(f"{what}: {text}"))
            elif time.perf_counter() - last >= PIPE_SECONDS:
                last = time.perf_counter()
                say(text)

        yield show
    stderr.print(f"[dim]{escape(what)}: {time.perf_counter() - began:.1f} s[/dim]")


@contextmanager
def interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into an answer: the body asks whether it came. A second one ends the program as ever."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)
        say("stopping with the best plan so far; once more to leave without one")

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def say(text: str) -> None:
    """One line of progress on stderr."""
    stderr.print(f"[dim]{escape(text)}[/dim]", soft_wrap=True)


def emit(result: Mapping[str, Any], as_json: bool, text: Sequence[str | Table] = ()) -> None:
    """Print a result: the JSON document, or the lines and tables meant for people."""
    if sys.stdout is None:  # closed from the start: nobody asked for it
        return
    if as_json:
        _write_json(result)
        return
    after_table = False
    for part in text:
        if after_table:
            stdout.print()
        after_table = isinstance(part, Table)
        stdout.print(part if isinstance(part, Table) else escape(part))


def columns(parts: Sequence[tuple[str, Sequence[str]]], *, prose: int | None = None) -> Table:
    """A table from (head, cells) a column: the first to the left, the others to the right; the one numbered ``prose`` is text that may wrap."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, (head, _) in enumerate(parts):
        text = i in (0, prose)
        made.add_column(escape(head), justify="left" if text else "right", no_wrap=i != prose, vertical="top")
    for row in zip(*(cells for _, cells in parts), strict=True):
        made.add_row(*(escape(cell) for cell in row))
    return made


def _write_json(document: Mapping[str, Any]) -> None:
    """One document on stdout, written through, so that what is not written is known of."""
    with suppress(BrokenPipeError):  # who read it has gone
        sys.stdout.write(json_text(document) + "\n")
        sys.stdout.flush()


def run(app: Any) -> int:
    """Run the command line and turn errors into messages and exit statuses."""
    as_json = "--json" in sys.argv
    with _noting_interrupts() as interrupted:
        try:
            status = app(standalone_mode=False)
        except (Exception, KeyboardInterrupt) as error:
            # the border: everything that goes wrong ends here, as a message and a status; so does Ctrl-C, which
            # libraries turn into errors of their own (DuckDB into a RuntimeError)
            status = INTERRUPTED if interrupted() or not isinstance(error, Exception) else _end(error, as_json)
    if status == INTERRUPTED:
        stderr.print("interrupted: not finished")
    return status if isinstance(status, int) else DONE


@contextmanager
def _noting_interrupts() -> Iterator[Callable[[], bool]]:
    """Let the body ask whether Ctrl-C came, whatever became of the exception; where others listen for it, or nobody may, it is theirs."""
    came = False

    def note(*_: object) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    ours = before is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


def _end(error: Exception, as_json: bool) -> int:
    facts: dict[str, object] = {"error": str(error)}
    usage = getattr(error, "format_message", None)
    if isinstance(error, InputError):
        status = WRONG_INPUT
        facts["problems"] = [p.as_dict() for p in error.problems]
        for problem in error.problems:
            stderr.print(f"[red]error:[/red] {escape(str(problem))}", soft_wrap=True)
    elif isinstance(error, InfeasiblePlanError):
        status = INFEASIBLE
        stderr.print(f"[red]no feasible plan:[/red] {escape(str(error))}", soft_wrap=True)
    elif isinstance(error, GuardrailError):
        status = REFUSED
        stderr.print(f"[red]not published:[/red] {escape(str(error))}", soft_wrap=True)
    elif usage is not None:  # click's own errors about arguments
        status = int(getattr(error, "exit_code", WRONG_INPUT))
        facts["error"] = usage()
        stderr.print(
            f"[red]error:[/red] {escape(usage())}\nTry 'fillplan --help' or 'fillplan VERB --help'.", soft_wrap=True
        )
    elif isinstance(error, OSError) and error.filename is not None:  # a place that cannot be read or written
        status = WRONG_INPUT
        stderr.print(f"[red]error:[/red] {escape(str(error.filename))}: {escape(error.strerror or '')}", soft_wrap=True)
    elif isinstance(error, OSError) and error.errno in NO_ROOM:  # stdout, or a library that does not name the file
        status = DEFECT
        facts["error"] = f"cannot write the output: {os.strerror(error.errno)}"
        stderr.print(f"[red]error:[/red] {facts['error']}", soft_wrap=True)
    elif type(error).__name__ == "Abort":  # the input that was asked for has ended
        status = INTERRUPTED
    else:
        status = DEFECT
        stderr.print(f"[red]defect:[/red] {type(error).__name__}: {escape(str(error))}", soft_wrap=True)
        if os.environ.get("FILLPLAN_TRACEBACK"):
            raise error
        stderr.print("Set FILLPLAN_TRACEBACK=1 to see where, and please report it.")
    if as_json and sys.stdout is not None:
        with suppress(OSError):  # what went wrong may be just that
            _write_json(facts)
    return status
