"""Runs an action again and again in a process that can be killed at a chosen step of its work on files, or after a chosen time.

The script imports everything once and then forks, so that each run starts at once. A step is anything Python is about to do to the file system:
the process dies before it happens. ``python -m tests.faults.victim MODULE:FUNCTION ARGUMENT…`` reads one JSON order a line and answers with a JSON
line: how the run ended and how many steps it came to.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

EVENTS = frozenset(
    ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree", "shutil.copytree",
     "shutil.copyfile", "sqlite3.connect", "ctypes.dlsym")
)  # fmt: skip


class Victim:
    """The script, seen from a test."""

    def __init__(self, action: str, *arguments: object) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        paths = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.victim", action, *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads, "PYTHONPATH": paths},
        )  # fmt: skip

    def run(self, *, step: int | None = None, seconds: float | None = None) -> tuple[str, int]:
        """How a run ended (``done``, ``killed``, or the exception's name) and the steps it came to; killed before ``step`` or after ``seconds``."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"step": step, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        end, steps = json.loads(self.process.stdout.readline())
        return end, steps

    def close(self) -> None:
        self.process.communicate()


def main() -> None:
    module, _, name = sys.argv[1].partition(":")
    action = getattr(importlib.import_module(module), name)
    for line in sys.stdin:
        order = json.loads(line)
        with tempfile.TemporaryFile() as counted:
            pid = os.fork()
            if pid == 0:
                os.dup2(2, 1)
                _live(action, sys.argv[2:], order["step"], counted.fileno())
            if order["seconds"] is not None:
                threading.Thread(target=_kill, args=(pid, order["seconds"]), daemon=True).start()
            _, status = os.waitpid(pid, 0)
            counted.seek(0)
            steps, _, end = counted.read().decode().rpartition("\n")
        answer = ("killed", len(steps.encode()) + 1) if os.WIFSIGNALED(status) else (end, len(steps))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _live(action, arguments, step, counted) -> None:
    """One run, in the child: a dot for each step into ``counted``, then how it ended."""
    count = 0

    def hook(event, values):
        nonlocal count
        writes = event == "open" and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or event in EVENTS:
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            os.write(counted, b".")

    sys.addaudithook(hook)
    end = "done"
    try:
        action(*arguments)
    except Exception as error:
        traceback.print_exc()
        end = type(error).__name__
    os.write(counted, f"\n{end}".encode())
    os._exit(0)


def _kill(pid, seconds) -> None:
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
