"""The fork server, and children that the sentinel did not start itself."""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing import forkserver, resource_tracker

from django_cluster.cluster.bootstrap.host import reap_adopted
from django_cluster.cluster.ipc.control_pipe import SENTINEL_SIGNALS


def start_forkserver() -> None:
    """Start it with ``SENTINEL_SIGNALS`` blocked: it is the parent of every child, and would end all with it.

    A blocked signal stays blocked in what is started; each child unblocks it for itself.
    """
    resource_tracker.ensure_running()  # first, because it changes the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SENTINEL_SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def reap_orphans() -> None:
    """Reap the exited programs of tasks, which become children of the first process of a container."""
    own = [process.pid for process in multiprocessing.active_children()]
    for helper in (forkserver._forkserver, resource_tracker._resource_tracker):
        own += [getattr(helper, name, None) for name in ("_forkserver_pid", "_pid")]
    reap_adopted(own)
