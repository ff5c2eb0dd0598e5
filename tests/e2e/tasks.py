"""Tasks that only a whole cluster can survive."""

from __future__ import annotations

import ctypes
import itertools
import logging
import mmap
import multiprocessing
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from django_cluster import Snooze, current_task, progress
from django_cluster.tasks import async_task
from tests.sample.tasks import hang_deaf, touch

if TYPE_CHECKING:
    from django_cluster.models import Task


def hang_the_first_time(path: str, seconds: float = 60) -> int:
    """Hang in the first run; later runs return at once which run they are."""
    touch(path)
    runs = len(Path(path).read_text().splitlines())
    if runs == 1:
        time.sleep(seconds)
    return runs


def swallow_everything(seconds: float) -> None:
    """Run to the end whatever is raised in it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(end - time.monotonic())
        except BaseException:  # noqa: BLE001  that is the point
            continue


def stay_in_c() -> None:
    """A loop in C that never looks for signals."""
    deque(itertools.repeat(0), maxlen=0)


def recurse() -> None:
    recurse()


def segfault() -> None:
    ctypes.string_at(0)


def close_every_descriptor() -> None:
    """As a daemon would: the lines of the worker are among them."""
    os.closerange(3, 1024)


def close_every_descriptor_and_wait_for(path: str, end: str) -> None:
    close_every_descriptor()
    say_and_wait_for(path, end)


def leave_thread_behind_and_close_every_descriptor() -> None:
    leave_thread_behind()
    close_every_descriptor()


def close_standard_streams() -> None:
    sys.stdout.close()
    sys.stderr.close()
    os.closerange(0, 3)


def fork_and_die(path: str) -> None:
    """Leave a child that holds a copy of everything the worker has open, until the file disappears."""
    touch(path)
    if os.fork() == 0:
        while Path(path).exists():
            time.sleep(0.02)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


def leave_programs_and_wait(path: str, number: int) -> None:
    """Leave programs behind that have inherited every descriptor of the worker, and hang."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            os.set_inheritable(int(name), True)
    for _ in range(number):
        _programs.append(subprocess.Popen(["sleep", "60"], close_fds=False))
        touch(path, str(_programs[-1].pid))
    time.sleep(60)


def leave_orphan() -> None:
    """Start a program that starts another one and ends: that one then belongs to nobody."""
    subprocess.run(["sh", "-c", "sleep 0.1 & true"], check=True)


def fill(path: str) -> int:
    """Write a file until there is no room; returns its size."""
    size = 0
    with suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            size += file.write(bytes(1 << 12))
    return size


def keep_every(kind: str) -> None:
    """Use up what the process may have of something, and keep it."""
    with suppress(OSError, RuntimeError):
        while True:
            if kind == "file descriptors":
                _used_up.append(os.open(os.devnull, os.O_RDONLY))
            else:
                _used_up.append(mmap.mmap(-1, 4 << 20))
    if kind == "memory":
        _used_up.pop()  # the process itself can still work


def need(kind: str) -> None:
    """What fails in a process that has none of it left."""
    if kind == "file descriptors":
        for each in [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]:
            os.close(each)
    else:
        mmap.mmap(-1, 12 << 20).close()


_used_up: list[object] = []


def remove_working_folder() -> None:
    os.rmdir(os.getcwd())


def run_child() -> int | None:
    """Have a child process do something."""
    child = multiprocessing.get_context("fork").Process(target=len, args=("abc",))
    child.start()
    child.join()
    return child.exitcode


def leave_program_behind() -> int:
    """Start a program that goes on when the task is over; returns its process id."""
    _programs.append(subprocess.Popen(["sleep", "60"]))
    return _programs[-1].pid


_programs: list[subprocess.Popen[bytes]] = []


def fork_and_forget(path: str) -> None:
    """Fork a child that comes back from the task as well, and then hang where no exception comes through."""
    child = os.fork()
    touch(path, str(os.getpid()))
    if child:
        os.waitpid(child, 0)
        hang_deaf(60)


def leave_thread_behind() -> None:
    """Start a thread for which the interpreter would wait for ever."""
    threading.Thread(target=threading.Event().wait).start()


def say_and_wait_for(path: str, end: str, seconds: float = 30) -> None:
    """Say that it has begun, and go on until the file ``end`` appears."""
    touch(path)
    until = time.monotonic() + seconds
    while not Path(end).exists() and time.monotonic() < until:
        time.sleep(0.01)


def report_progress_until(end: str) -> None:
    """Say how far it is, and go on until the file ``end`` appears."""
    progress(0, 3)
    progress(1, 3, "one of three")
    while not Path(end).exists():
        time.sleep(0.01)


def say_wait_for_and_say(path: str, end: str) -> None:
    """Leave the trace *begun*, wait until the file ``end`` appears, and leave the trace *ended*."""
    touch(path, "begun")
    while not Path(end).exists():
        time.sleep(0.01)
    touch(path, "ended")


def open_transaction_and_fail() -> NoReturn:
    """Fail in the middle of a transaction that nobody ends."""
    from django.db import connection, transaction

    transaction.set_autocommit(False)
    connection.cursor().execute("SELECT 1")
    raise ValueError("no luck")


def hold_for_a_moment(megabytes: int) -> int:
    """Use that much more memory, and give it back before the end."""
    return len(bytearray(os.urandom(1024) * 1024 * megabytes))


def replace_descriptors(kind: str) -> None:
    """Put other files in the place of all sockets and pipes of this process, its lines among them."""
    if kind == "null":
        new = os.open(os.devnull, os.O_RDWR)
    else:
        ours, theirs = socket.socketpair()
        ours.setblocking(kind == "blocking socket")
        _kept.extend((ours, theirs))
        new = ours.fileno()
    own = {new, *(each.fileno() for each in _kept)}
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        with suppress(OSError):
            if number > 2 and number not in own and _is_line(number):
                os.dup2(new, number)


_kept: list[socket.socket] = []


def _is_line(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)


def log_a_line(message: str) -> None:
    """To a logger that nobody has configured."""
    logging.getLogger("shop.orders").info(message)


def send_another(task: object) -> None:
    """A hook that takes its time, and sends a task in the end."""
    time.sleep(1)
    async_task("tests.sample.tasks.add", 2, 2)


def begin_and(path: str, what: str) -> None:
    """Say that it has begun, and do what takes longer than any test: ``sleep``, ``spin`` or ``swallow``."""
    say(path, what)
    if what == "swallow":
        swallow_everything(60)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if what == "sleep":
            time.sleep(60)


def say(path: str, word: str) -> None:
    """Add a line to a file."""
    with open(path, "a") as file:
        file.write(f"{word}\n")


def say_status(task: Task) -> None:
    """A hook of ``begin_and``."""
    say(task.args[0], f"{task.args[1]} was {task.status}")


def keep_and_die() -> list[int]:
    """Count one further in each run, and be killed until three are counted."""
    task = current_task()
    assert task is not None
    done = [*(task.last_checkpoint or []), len(task.last_checkpoint or [])]
    task.checkpoint(done)
    if len(done) < 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return done


def work_until_stopped(path: str) -> str:
    """Leave early when the worker is to stop, and say so in the next run."""
    task = current_task()
    assert task is not None
    if task.last_checkpoint:
        return f"continued after {task.last_checkpoint}"
    say(path, "begun")
    while not task.should_stop:
        time.sleep(0.01)
    task.checkpoint("half")
    raise Snooze(0)


def write_session(key: str) -> None:
    """Write a row on the connection that the worker keeps."""
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    Session.objects.create(session_key=key, session_data="", expire_date=timezone.now())
