"""An orphan ends, also where it hangs in a call in C and no handler of a signal can run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import wait

HANGING = """
import ctypes, os, time
from django_cluster.cluster.bootstrap.orphan_watchdog import exit_when_orphaned

if os.fork() == 0:
    exit_when_orphaned(0.5)
    print(os.getpid(), flush=True)
    ctypes.CDLL(None).sleep(600)
time.sleep(600)
"""


def test_an_orphan_that_hangs_in_c_ends_in_time() -> None:
    with subprocess.Popen([sys.executable, "-c", HANGING], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        handle = os.pidfd_open(orphan)
        try:
            parent.kill()
            parent.wait(10)
            assert wait([handle], 60), "the orphan lives on"
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)
