"""Tasks that crash in every way, that make wishes, and that leave their worker in disorder."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from django.contrib.auth.models import Group
from django.db import connection, transaction

from django_cluster.errors import Discard, Retry, Snooze
from tests.sample.tasks import touch

# -- ways to die ------------------------------------------------------------------------------------


def work_and_die_of(number: int, seconds: float) -> None:
    """Be busy for a while, and end by this signal, of which nobody is asked to take notice."""
    time.sleep(seconds)
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def work_and_leave(code: int, seconds: float) -> NoReturn:
    time.sleep(seconds)
    os._exit(code)


def work_and_crash(seconds: float) -> None:
    time.sleep(seconds)
    read_from_nowhere()


def read_from_nowhere() -> None:
    ctypes.string_at(0)


def hold(megabytes: int, seconds: float) -> int:
    """Hold that much memory for so long."""
    ballast = bytearray(os.urandom(1024) * 1024 * megabytes)
    time.sleep(seconds)
    return len(ballast)


def die_while_it_exists(path: str, trace: str) -> str:
    """Kill the worker as long as there is such a file."""
    touch(trace)
    if Path(path).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return "cured"


# -- wishes -----------------------------------------------------------------------------------------


def runs(path: str) -> int:
    """Say that there was one more run, and how many there were."""
    touch(path, f"{time.time()}")
    return len(Path(path).read_text().splitlines())


def ask_to_be_tried_again(path: str, times: int, delay: float | None = None) -> int:
    run = runs(path)
    if run <= times:
        raise Retry(delay, f"run {run} was not the right one")
    return run


def ask_to_be_run_later(path: str, times: int, delay: float) -> int:
    run = runs(path)
    if run <= times:
        raise Snooze(timedelta(seconds=delay))
    return run


def ask_to_be_discarded(path: str) -> NoReturn:
    runs(path)
    raise Discard("nobody wants it any more")


def fail_with(path: str, kind: str) -> NoReturn:
    run = runs(path)
    raise {"KeyError": KeyError, "LookupError": LookupError, "OSError": OSError}[kind](f"in run {run}")


# -- disorder ---------------------------------------------------------------------------------------


def give(size: int) -> bytes:
    return os.urandom(1024) * (size // 1024)


def give_text() -> str:
    return "NUL \0, half a pair \ud800"


def fail_with_text() -> NoReturn:
    raise ValueError(give_text())


def take_all_signals(how: str) -> None:
    """Take what is the cluster's, as a library with a main loop of its own does."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL if how == "default" else lambda *_: sys.exit(1))


def block_all_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def set_the_alarm(seconds: float) -> int:
    """Forget an alarm that ends the process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    return os.getpid()


def stop_listening_to_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def run_a_program() -> int:
    """The exit code of a program that fails with 3."""
    import subprocess

    return subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], check=False).returncode


def move_to(folder: str) -> None:
    os.chdir(folder)


def move_to_a_folder_that_disappears(folder: str) -> None:
    Path(folder).mkdir()
    os.chdir(folder)
    Path(folder).rmdir()


def current_folder() -> str:
    return os.getcwd()


def begin_and_forget(name: str) -> None:
    """Leave a block that nobody ends; what it wrote is never committed."""
    transaction.atomic().__enter__()
    Group.objects.create(name=name)


def close_the_connection(name: str) -> None:
    """Write, and close the connection in the middle of everything."""
    Group.objects.create(name=name)
    connection.close()


def write(name: str) -> int:
    return int(Group.objects.create(name=name).pk)


def fork_and_return(path: str) -> int:
    """Both come back from the task; the child must not speak for the worker."""
    pid = os.fork()
    touch(path, "child" if pid == 0 else "parent")
    if pid:
        os.waitpid(pid, 0)
    return pid


def fork_and_raise(path: str) -> None:
    """The same, with an error in the child."""
    pid = os.fork()
    touch(path, "child" if pid == 0 else "parent")
    if pid == 0:
        raise ValueError("only in the child")
    os.waitpid(pid, 0)


def update_or_create(name: str) -> None:
    """What an ordinary task does, in a transaction of Django's: read first, then write."""
    Group.objects.update_or_create(name=name, defaults={"name": name})


def sqlite_options() -> dict[str, object]:
    """How this worker's connection to SQLite is set up."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        (milliseconds,) = cursor.fetchone()
        cursor.execute("PRAGMA journal_mode")
        (journal,) = cursor.fetchone()
    mode = getattr(connection, "transaction_mode", None)
    return {"transaction_mode": mode, "timeout": milliseconds // 1000, "journal_mode": journal}


def read_in_a_transaction(alias: str) -> int:
    with transaction.atomic(using=alias):
        return Group.objects.using(alias).count()


def read_and_write(name: str, order: int) -> int:
    """Write after reading, in a transaction and outside of one."""
    with transaction.atomic():
        there = Group.objects.filter(pk=order).count()
        group = Group.objects.create(name=f"{name} (draft)")
    Group.objects.filter(pk=group.pk).update(name=name)
    return there
