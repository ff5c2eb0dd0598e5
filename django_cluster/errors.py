"""Every exception that django_cluster raises on purpose.

::

    ClusterError
    ├── BrokerError
    │   ├── BrokerUnavailable    the server cannot be reached (try again later)
    │   └── BrokerRefused        the server answered, and said no
    │       ├── PayloadTooLarge  the message is larger than this broker takes
    │       └── NotSupported     the broker cannot do what the message asks for
    ├── StoreUnavailable         the result store cannot be reached (try again later)
    ├── PackageError             a message that is not one of ours, or no longer readable
    │   ├── BadSignature         wrong key, wrong cluster name, or tampered with
    │   ├── PayloadMissing       the reference of a large payload, which is not in the database
    │   ├── UnknownFormat        signed, but written by a version that we do not know
    │   │   └── LibraryMissing       compressed in a way that this process has no library for
    │   ├── InstanceMissing      a model instance among the arguments is gone
    │   ├── UnknownFunction      no function can be found by this dotted path
    │   │   └── UnsuitableFunction   it can be found, and no worker can run it: an async function, a generator
    │   ├── FunctionNotAllowed   the setting ``functions`` does not allow this function
    │   └── MessageTooOld        the message is older than ``max_message_age``
    ├── NotSerializable          arguments or a result that the serializer cannot carry
    │   └── ValueTooLarge        they are larger than the settings allow
    ├── TaskFailed               asked for with ``sync``: the task raised
    │   └── ItemsFailed          items of an iter failed, so that there is no list of results
    ├── NotFinished              the task has not ended yet
    ├── ResultsPruned            results of a group are no longer kept, so that there is no whole answer
    ├── InvalidSettings          ``Q_CLUSTER`` holds values that make no sense, all of them listed
    └── CrashLoop                children died faster than they could be replaced

    TaskDirective (Exception)         what a task raises to say how it wants to end
    ├── Retry                this run failed; try again
    ├── Snooze               not now: run again later, and count no attempt
    └── Discard              give up for good; no further attempt

    TaskTimeout (BaseException)  raised inside a task that overruns its soft limit

An exception without a message says the first line of its docstring.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

LONGEST_DURATION = 3_155_760_000
"""Seconds, 100 years: the longest delay or time limit. Timers of the system end at 292 years."""


class ClusterError(Exception):
    """Something went wrong in django_cluster."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").partition("\n")[0]


class BrokerError(ClusterError):
    """The broker did not do what it was asked."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached."""


class BrokerRefused(BrokerError):
    """The broker answered, and refused."""


class PayloadTooLarge(BrokerRefused):
    """The message is larger than this broker takes."""


class NotSupported(BrokerRefused):
    """The broker cannot do what the message asks for."""


class StoreUnavailable(ClusterError):
    """The result store cannot be reached."""


class PackageError(ClusterError):
    """This message is not a task package that can be read here."""


class BadSignature(PackageError):
    """The signature does not match: another key, another namespace or queue, or a changed message."""


class PayloadMissing(PackageError):
    """A reference without its payload: its row is gone, or ``offload_large_payloads`` is not set for this cluster.

    ``body``: what the reference says of the task, as a body without arguments; None if it says nothing.
    """

    def __init__(self, body: bytes | None = None) -> None:
        super().__init__()
        self.body = body


class UnknownFormat(PackageError):
    """The message is signed with our key, but its format is not known to this version."""


class LibraryMissing(UnknownFormat):
    """The message is compressed by a library that this process does not have; another process may have it."""


class InstanceMissing(PackageError):
    """A model instance among the arguments, which travelled by reference, is no longer in its database."""


class UnknownFunction(PackageError, ValueError):
    """No function can be found by this dotted path."""


class UnsuitableFunction(UnknownFunction, TypeError):
    """The function cannot be a task or a hook: it is async, or a generator."""


class FunctionNotAllowed(PackageError):
    """The setting ``functions`` does not allow this function."""


class MessageTooOld(PackageError):
    """The message is older than ``max_message_age`` allows."""


class NotSerializable(ClusterError):
    """A value cannot be carried by the configured serializer."""


class ValueTooLarge(NotSerializable):
    """Arguments or a result are larger than ``max_payload_size`` or ``max_result_size``; the message has both sizes."""


class TaskFailed(ClusterError):
    """The task failed."""


class ItemsFailed(TaskFailed):
    """Items of an iter failed."""


class NotFinished(ClusterError):
    """The task has not finished yet."""


class ResultsPruned(ClusterError):
    """Some results of the group are no longer kept."""


class Problem(NamedTuple):
    """One thing that is wrong, or unwise, in the settings. Never holds a secret."""

    id: str
    """``E…`` for an error, ``W…`` for a warning, ``I…`` for what is good to know; see ``core/settings/problems.py``."""
    key: str
    """Where it stands, for example ``workers`` or ``ALT_CLUSTERS['long'].workers``."""
    sentence: str
    hint: str = ""

    @property
    def is_error(self) -> bool:
        return self.id.startswith("E")


class InvalidSettings(ClusterError, ValueError):
    """The settings of the cluster cannot be used."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems: tuple[Problem, ...] = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(["Q_CLUSTER cannot be used:", *(_line(problem) for problem in self.problems)])


def _line(problem: Problem) -> str:
    return f"- {problem.sentence} {problem.hint}".rstrip() + f" ({problem.id})"


class CrashLoop(ClusterError):
    """Processes of the cluster died faster than they could be replaced."""


class TaskTimeout(BaseException):
    """The task ran longer than its time-out.

    Not an ``Exception``, so that an ordinary ``except Exception`` in the task does not swallow it.
    """


class TaskDirective(Exception):
    """The task says how it wants to end."""


class Retry(TaskDirective):
    """This run failed, and the task asks to be run again.

    ``delay``: seconds, or None for the delay that the settings give. ``max_attempts`` still holds.
    """

    def __init__(self, delay: float | timedelta | None = None, reason: str = "") -> None:
        super().__init__(reason or "The task asked to be tried again.")
        self.delay = None if delay is None else _seconds(delay)

    def __reduce__(self) -> tuple[type[Retry], tuple[float | None, str]]:
        return type(self), (self.delay, str(self))  # a task may hear of it from a process pool of its own


class Snooze(TaskDirective):
    """Not now: run the task again after ``delay`` seconds. It costs no attempt and leaves no record."""

    def __init__(self, delay: float | timedelta, reason: str = "") -> None:
        super().__init__(reason or "The task asked to be run later.")
        self.delay = _seconds(delay)

    def __reduce__(self) -> tuple[type[Snooze], tuple[float, str]]:
        return type(self), (self.delay, str(self))


class Discard(TaskDirective):
    """Give up for good: the task is recorded as discarded, with the reason, and never run again."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "The task asked to be discarded.")


def _seconds(delay: float | timedelta) -> float:
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    if not 0 <= seconds <= LONGEST_DURATION:
        raise ValueError(f"A delay is a number of seconds from 0 to {LONGEST_DURATION} (100 years), not {delay!r}.")
    return seconds
