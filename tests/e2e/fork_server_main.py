"""A process that has imported what a cluster imports, and forks whenever a test wants one: ``python -m`` this module.

It imports whatever a real start has imported by the time it could fork, models aside: those need the settings, which
it does not read. It has one thread, no connection, and no handler of a signal. Each line that it reads from the
socket that is its argument is a request:

======================================  ======================================================================
``{"start": [module, argument, ...],    fork; the child becomes ``python -m module argument ...`` in a session of its
"environment": {...}, "out": path,      own, with this environment and these files; the answer is its process id
"error": path}``
``{"poll": pid}``                       the exit code, as of ``subprocess``, or null as long as it runs
======================================  ======================================================================
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from typing import Any

REAL_START = """
import json, sys
import django
django.setup()
from django.core.management import load_command_class
load_command_class("django_cluster", "qcluster").check(display_num_errors=False)
from django.db import connection
connection.vendor
print(json.dumps([name for name in sys.modules if name.partition(".")[0] not in ("tests", "__main__")]))
"""
"""A start until the command has its arguments."""


def import_what_a_cluster_imports() -> None:
    from django.core.exceptions import AppRegistryNotReady, ImproperlyConfigured

    listed = subprocess.run([sys.executable, "-c", REAL_START], check=True, capture_output=True).stdout
    settings = os.environ.pop("DJANGO_SETTINGS_MODULE")
    for name in json.loads(listed):
        # A module that needs the settings, the models or another order is imported by each child.
        with contextlib.suppress(AppRegistryNotReady, ImproperlyConfigured, ImportError):
            importlib.import_module(name)
    os.environ["DJANGO_SETTINGS_MODULE"] = settings
    # It finds the place of the title beside the first environment, and only there.
    importlib.import_module("setproctitle").getproctitle()
    gc.freeze()  # no child's collector needs to look through this
    assert tempfile.tempdir is None, "each child has a temporary folder of its own"


def answer(connection: socket.socket) -> dict[str, Any] | None:
    """Answer requests until nobody asks any more; in a child, the request that it is to fulfil."""
    children: set[int] = set()
    with connection, connection.makefile("rw") as lines:
        lines.write("null\n")
        lines.flush()
        for line in lines:
            request = json.loads(line)
            if "poll" in request:
                pid, status = os.waitpid(request["poll"], os.WNOHANG)
                said = os.waitstatus_to_exitcode(status) if pid else None
                children.discard(pid)
            else:
                assert len(os.listdir("/proc/self/task")) == threading.active_count() == 1
                said = os.fork()
                if said == 0:
                    return dict(request)
                children.add(said)
            lines.write(f"{json.dumps(said)}\n")
            lines.flush()
    for child in children:  # of tests that were killed before they could end them
        os.kill(child, signal.SIGQUIT)
    return None


def move_in(environment: dict[str, str], out: str, error: str) -> None:
    """What ``subprocess.Popen`` does in a child; its standard input is empty already."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(out, os.O_WRONLY | os.O_APPEND), 1)
    os.dup2(os.open(error, os.O_WRONLY | os.O_APPEND), 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def main() -> list[str]:
    """In a child, the module that it is to run, and its arguments; nothing where nobody asks any more."""
    import_what_a_cluster_imports()
    request = answer(socket.socket(fileno=int(sys.argv[1])))
    if request is None:
        return []
    move_in(request["environment"], request["out"], request["error"])
    return list(request["start"])


if __name__ == "__main__" and (wanted := main()):
    # At the top of the stack: its exceptions, its exit code and its last acts are those of the interpreter.
    sys.argv[1:] = wanted[1:]
    runpy.run_module(wanted[0], run_name="__main__", alter_sys=True)
