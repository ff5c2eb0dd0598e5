"""Tasks of every temper. Each is a plain function; none knows that a cluster exists."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

BASE_EXCEPTIONS: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in (BaseException, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, MemoryError)
}


class Unpicklable:
    """A value that no serializer can carry."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("this value stays where it is")


def add(a: Any, b: Any) -> Any:
    return a + b


def nothing() -> None:
    """The cheapest task there is."""


def echo(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the function was really called with."""
    return args, kwargs


def fail(message: str = "no luck") -> NoReturn:
    raise ValueError(message)


def fail_badly(kind: str = "SystemExit") -> NoReturn:
    """Raise something that ``except Exception`` does not catch; ``kind`` is a key of ``BASE_EXCEPTIONS``."""
    raise BASE_EXCEPTIONS[kind]("no luck at all")


def unpicklable() -> Unpicklable:
    """Succeed, with a result that cannot be sent."""
    return Unpicklable()


def spin(seconds: float) -> None:
    """Keep a processor busy in pure Python, where an exception can come through at any moment."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def sleep(seconds: float) -> None:
    """Wait in one system call, which a signal interrupts."""
    time.sleep(seconds)


def hang_deaf(seconds: float) -> None:
    """Wait while deaf to the alarm of the soft time limit, like a task that is stuck in C."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(seconds)


def die() -> None:
    """End the process as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def leave(code: int = 3) -> NoReturn:
    """End the process at once, past every ``finally``."""
    os._exit(code)


def exit_politely(code: int = 3) -> NoReturn:
    sys.exit(code)


def grow(megabytes: int) -> int:
    """Hold that much more memory for as long as the process lives; returns how much was added in bytes."""
    # Written, not only reserved: pages that nobody has touched do not count as resident.
    _ballast.append(bytearray(os.urandom(1024) * 1024 * megabytes))
    return len(_ballast[-1])


_ballast: list[bytearray] = []


def touch(path: str, text: str = "x") -> None:
    """Append a line to a file. One write, so that lines of several processes do not mix."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


def touch_and_sleep(path: str, seconds: float, text: str = "x") -> None:
    """Say that it has begun, and take its time: for tests that want to catch a task at work."""
    touch(path, text)
    time.sleep(seconds)


def touch_and_hang_deaf(path: str, seconds: float) -> None:
    """Say that it has begun, and hang as :func:`hang_deaf` does."""
    touch(path)
    hang_deaf(seconds)


def touch_and_spin(path: str, seconds: float) -> None:
    """Say that it has begun, and compute without a pause."""
    touch(path)
    spin(seconds)


def touch_and_die(path: str, text: str = "x") -> None:
    """Leave a trace of each attempt, and end the process."""
    touch(path, text)
    die()


def fail_until(path: str, attempts: int) -> int:
    """Fail until it has been run so often; the runs are the lines of the file."""
    touch(path)
    runs = len(Path(path).read_text().splitlines())
    if runs < attempts:
        raise ValueError(f"run {runs} of {attempts}")
    return runs


def process_id() -> int:
    return os.getpid()


def affinity() -> list[int]:
    """The processors that the process may use; empty where the platform cannot say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


async def generate_later(number: int) -> AsyncIterator[int]:
    """No task: a call of it runs nothing."""
    yield number


async def add_later(a: Any, b: Any) -> Any:
    """A coroutine function."""
    await asyncio.sleep(0)
    return a + b
