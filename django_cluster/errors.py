"""Every exception that django_cluster raises on purpose.

::

    ClusterError
    ├── BrokerError
    │   ├── BrokerUnavailable    the server cannot be reached (try again later)
    │   └── BrokerRefused        the server answered, and refused
    │       ├── PayloadTooLarge  the message is larger than this broker takes
    │       └── NotSupported     the broker cannot do what the message asks for
    ├── StoreUnavailable         the result store cannot be reached (try again later)
    ├── PackageError             a message that is not one of ours, or no longer readable
    │   ├── BadSignature         another key, namespace or queue, or a changed message
    │   ├── PayloadMissing       the reference of a large payload, which is not in the database
    │   ├── UnknownFormat        signed, but in a format that this version does not know
    │   │   └── LibraryMissing       compressed in a way that this process has no library for
    │   ├── InstanceMissing      a model instance among the arguments is gone
    │   ├── UnknownFunction      no function can be found by this dotted path
    │   │   └── UnsuitableFunction   it can be found, and no worker can run it: an async function, a generator
    │   ├── FunctionNotAllowed   the setting ``functions`` does not allow this function
    │   └── MessageTooOld        the message is older than ``max_message_age``
    ├── SendRefused              a middleware refuses to send a task
    ├── NotSerializable          arguments or a result that the serializer cannot carry
    │   └── ValueTooLarge        they are larger than the settings allow
    ├── WorkerLost               the worker died while it ran the task
    ├── TaskFailed               the task failed
    │   ├── TaskExpired          no run of it had begun by the moment that ``expires`` names
    │   └── ItemsFailed          items of ``async_iter`` failed, so that there is no list of results
    ├── NotFinished              the task has not ended yet
    ├── ResultsPruned            results of a group are no longer kept, so that the list is incomplete
    ├── InvalidSettings          ``Q_CLUSTER`` is invalid; lists every problem
    ├── ImportSourceUnavailable  what ``qimport`` is to import cannot be read
    └── CrashLoop                a process of the cluster exits again and again before it is ready

    TaskDirective (Exception)         raised by a task to control how its run ends
    ├── Retry                this run failed; run again
    ├── Snooze               run again later, without using an attempt
    └── Discard              fail, and never run again

    TaskTimeout (BaseException)    raised in a task that exceeds its time limit
    TaskCancelled (BaseException)  raised in a running task that is cancelled

The message of an exception that is raised without one is the first line of its docstring.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

LONGEST_DURATION = 3_155_760_000
"""Seconds in 100 years: the longest delay or time limit. Timers of the operating system end at 292 years."""


def __getattr__(name: str) -> Any:
    if name == "TaskWish":
        raise ImportError(f"{__name__}.TaskWish was renamed: use TaskDirective.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class ClusterError(Exception):
    """An operation of django_cluster failed.

    The base class of all exceptions of the package that callers may want to catch.
    """

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").partition("\n")[0]


class BrokerError(ClusterError):
    """The broker did not carry out a command."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached.

    The command may succeed later. Raised within the time-outs of the broker.
    """


class BrokerRefused(BrokerError):
    """The broker refused a command."""


class PayloadTooLarge(BrokerRefused):
    """The message is larger than the broker allows.

    The setting ``offload_large_payloads`` keeps such messages in the database.
    """


class NotSupported(BrokerRefused):
    """The broker does not support an option of the message, such as a priority or a delay."""


class StoreUnavailable(ClusterError):
    """The result store cannot be reached."""


class PackageError(ClusterError):
    """A message is not a task package that this process can read."""


class BadSignature(PackageError):
    """The signature does not match: another ``SECRET_KEY``, another namespace or queue, or a changed message."""


class PayloadMissing(PackageError):
    """The payload of a message is missing: its row is gone, or ``offload_large_payloads`` is not set in this process.

    ``body``: the header of the task, as a body without arguments; None if the reference has no header.
    """

    def __init__(self, body: bytes | None = None) -> None:
        super().__init__()
        self.body = body


class UnknownFormat(PackageError):
    """The message is signed with the right key, but its format is not known to this version."""


class LibraryMissing(UnknownFormat):
    """The message is compressed by a library that is not installed in this process."""


class InstanceMissing(PackageError):
    """A model instance among the arguments, which travelled by reference, is no longer in its database."""


class UnknownFunction(PackageError, ValueError):
    """No function can be imported by a dotted path."""


class UnsuitableFunction(UnknownFunction, TypeError):
    """A function cannot be a task or a hook: it is async, or a generator."""


class FunctionNotAllowed(PackageError):
    """The setting ``functions`` does not allow a function."""


class SendRefused(ClusterError):
    """A middleware refuses to send a task. An exception of its ``before_send`` is the cause of this one."""


class MessageTooOld(PackageError):
    """A message is older than the setting ``max_message_age`` allows."""


class NotSerializable(ClusterError):
    """A value cannot be serialized by the serializer of the settings (``serializer``)."""


class ValueTooLarge(NotSerializable):
    """Arguments or a result are larger than the settings ``max_payload_size`` or ``max_result_size`` allow."""


class WorkerLost(ClusterError):
    """The worker died while it ran the task.

    Never raised in the worker. It stands in the errors of results of Django's Tasks framework.
    """


class TaskFailed(ClusterError):
    """The task failed.

    Raised where a result is required, and in sync mode for a task that exceeded its time limit.
    """


class TaskExpired(TaskFailed):
    """No run of the task had begun by the moment that its option ``expires`` names; it was not run."""


class ItemsFailed(TaskFailed):
    """Items of ``async_iter`` failed, so that there is no list of results."""


class NotFinished(ClusterError):
    """The task has not finished yet."""


class ResultsPruned(ClusterError):
    """Results of a group are no longer kept (``save_limit``, ``retention_days``), so that the list is incomplete."""


class Problem(NamedTuple):
    """One problem of the settings. Never contains a secret."""

    id: str
    """``E…`` for an error, ``W…`` for a warning, ``I…`` for information; see ``core/settings/problems.py``."""
    key: str
    """The setting, for example ``workers`` or ``ALT_CLUSTERS['long'].workers``."""
    sentence: str
    hint: str = ""

    @property
    def is_error(self) -> bool:
        return self.id.startswith("E")


class InvalidSettings(ClusterError, ValueError):
    """The settings of the cluster cannot be used.

    ``problems``: everything that is wrong, as ``Problem`` objects.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems: tuple[Problem, ...] = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(["Q_CLUSTER cannot be used:", *(_line(problem) for problem in self.problems)])


def _line(problem: Problem) -> str:
    return f"- {problem.sentence} {problem.hint}".rstrip() + f" ({problem.id})"


class ImportSourceUnavailable(ClusterError):
    """The source of an import cannot be read: its server does not answer, or a library is not installed."""


class CrashLoop(ClusterError):
    """A process of the cluster exited again and again before it was ready."""


class TaskTimeout(BaseException):
    """The task exceeded its time limit.

    Raised inside the task. It is not an ``Exception``, so that an ``except Exception`` in the task does not swallow it.
    """


class TaskCancelled(BaseException):
    """The task was cancelled.

    Raised inside a running task, once. It is not an ``Exception``, so that an ``except Exception`` in the task does not
    swallow it. A task that has not ended ``kill_grace`` seconds later is killed with its worker.
    """


class TaskDirective(Exception):
    """The base class of the exceptions by which a task controls how its run ends."""


class Retry(TaskDirective):
    """Raise it in a task to fail this run and run the task again.

    ``delay``: seconds (or a ``timedelta``) until then; None: as the options and settings say. ``reason``: the message
    of the failure. The run counts as an attempt, and ``max_attempts`` still limits them. Raises ``ValueError`` for a
    delay that is negative or longer than 100 years.
    """

    def __init__(self, delay: float | timedelta | None = None, reason: str = "") -> None:
        super().__init__(reason or "The task asked to be tried again.")
        self.delay = None if delay is None else _seconds(delay)

    def __reduce__(self) -> tuple[type[Retry], tuple[float | None, str]]:
        return type(self), (self.delay, str(self))  # a task may receive it from a process pool of its own


class Snooze(TaskDirective):
    """Raise it in a task to run the task again later, without using an attempt and without a row for this run.

    ``delay``: seconds (or a ``timedelta``) until then. Raises ``ValueError`` for a delay that is negative or longer
    than 100 years.
    """

    def __init__(self, delay: float | timedelta, reason: str = "") -> None:
        super().__init__(reason or "The task asked to be run later.")
        self.delay = _seconds(delay)

    def __reduce__(self) -> tuple[type[Snooze], tuple[float, str]]:
        return type(self), (self.delay, str(self))


class Discard(TaskDirective):
    """Raise it in a task to end the task for good: it is recorded as discarded, with the reason, and never run
    again."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "The task asked to be discarded.")


def _seconds(delay: float | timedelta) -> float:
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    if not 0 <= seconds <= LONGEST_DURATION:
        raise ValueError(f"A delay is a number of seconds from 0 to {LONGEST_DURATION} (100 years), not {delay!r}.")
    return seconds
