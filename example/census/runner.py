"""Runs ``manage.py qcluster`` beside us for a while, and leaves nobody behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from django.core.management.base import CommandError

from django_cluster.cluster.bootstrap.host import die_with_parent

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"
PATIENCE = 30.0
"""Seconds for a graceful stop: more than the settings give the running tasks."""


class StopSign:
    """Ctrl-C and its like are noted here; loops look here between two steps, so that nothing is cut in the middle."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __bool__(self) -> bool:
        return bool(self.seen)

    def __enter__(self) -> StopSign:
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.seen.append(number)


@contextmanager
def cluster_beside(log: Path, workers: int | None, stop: StopSign) -> Iterator[subprocess.Popen[bytes]]:
    """A cluster for the time of the block, in a session of its own: a Ctrl-C is for us, and we tell the cluster."""
    command = [sys.executable, str(MANAGE), "qcluster"]
    if workers:
        command += ["--workers", str(workers)]
    with log.open("ab") as output:
        cluster = subprocess.Popen(  # noqa: S603  every word of it is ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGTERM),  # even if we are killed
        )
    try:
        yield cluster
    finally:
        end(cluster, stop)


def end(cluster: subprocess.Popen[bytes], stop: StopSign) -> None:
    """Ask for a graceful stop. Each further Ctrl-C asks again, and a second time means at once."""
    deadline = time.monotonic() + PATIENCE
    heard = len(stop.seen)
    cluster.terminate()
    while cluster.poll() is None:
        if len(stop.seen) > heard:
            heard = len(stop.seen)
            cluster.terminate()
        if time.monotonic() > deadline:
            os.killpg(cluster.pid, signal.SIGKILL)
        time.sleep(0.05)


def check(cluster: subprocess.Popen[bytes], log: Path) -> None:
    """Raises ``CommandError`` when the cluster has ended although nobody asked it to."""
    if cluster.poll() is not None:
        raise CommandError(f"The cluster ended with exit code {cluster.returncode}; {log} says why.")
