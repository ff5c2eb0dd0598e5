"""Hooks: called with the saved row of a task that has ended for good."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, NoReturn

HOOK_FILE = "SAMPLE_HOOK_FILE"
"""The environment variable with the file to which ``note`` appends."""


def note(task: Any) -> None:
    """Append the id of the task and whether it succeeded."""
    with Path(os.environ[HOOK_FILE]).open("a") as file:
        file.write(f"{task.id} {task.success}\n")


def fail(task: Any) -> NoReturn:
    raise ValueError(f"the hook of {task.id} has no luck")


def die(task: Any) -> None:
    """End the process that runs the hook."""
    os.kill(os.getpid(), signal.SIGKILL)
