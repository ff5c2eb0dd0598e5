"""A program that says into what surroundings it was started, and ends with an exit code: ``python -m`` this module."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

STREAMS = ("stdin", "stdout", "stderr")


def is_open(descriptor: int) -> bool:
    """Not the one by which the list of them was read."""
    with contextlib.suppress(OSError):
        return bool(os.fstat(descriptor))
    return False


def surroundings() -> dict[str, Any]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    streams = [getattr(sys, name) for name in STREAMS]
    return {
        "arguments": sys.argv,
        "main": sys.modules["__main__"].__spec__.name,  # type: ignore[union-attr]
        "path": sys.path,
        "flags": repr(sys.flags),
        "warnings": [sys.warnoptions, len(warnings.filters)],
        "folders": [str(Path.cwd()), tempfile.gettempdir()],
        "environment": dict(os.environ),
        "leads": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
        "handlers": {number: str(signal.getsignal(number)) for number in signal.valid_signals()},
        "signals": [status["SigBlk"], status["SigIgn"], status["SigCgt"]],
        "threads": [threading.active_count(), status["Threads"], threading.current_thread() is threading.main_thread()],
        "descriptors": {name: os.readlink(f"/proc/self/fd/{name}") for name in ("0", "1", "2")},
        "more descriptors": [name for name in os.listdir("/proc/self/fd") if int(name) > 2 and is_open(int(name))],
        "streams": [[each.encoding, each.errors, each.line_buffering, each.write_through] for each in streams],
        "limits": [os.nice(0), *(resource.getrlimit(each) for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE))],
    }


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(surroundings())}\n")
    atexit.register(sys.stdout.write, "the last words\n")
    if sys.argv[1] == "raise":
        raise RuntimeError("for the log")
    if sys.argv[1] == "killed":
        signal.raise_signal(signal.SIGKILL)
    sys.exit(int(sys.argv[1]))
