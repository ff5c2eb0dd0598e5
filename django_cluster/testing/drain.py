"""Test helpers for projects: inspect the queued tasks, and run them in the test process.

Nothing is mocked: tasks go through the broker of the project, and are leased, verified, executed, recorded and
acknowledged as in a cluster, but in the test process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.test import TestCase

from django_cluster.brokers.base import Delivery
from django_cluster.client.client import Client, SendOnCommit, get_client, raise_as_in_task
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.messages import Job, Outcome, TaskPackage
from django_cluster.core.settings.test_queues import is_test_process
from django_cluster.testing.due import MANY, Clock, make_ready, note_next_attempt, refuse_to_leave_delayed

__all__ = [
    "assert_enqueued",
    "assert_nothing_enqueued",
    "drain",
    "enqueued",
    "forget_enqueued",
    "run_tasks",
]


# ── running ──────────────────────────────────────────────────────────────────────────────────────


def drain(
    cluster: str | None = None,
    *,
    raise_errors: bool = True,
    limit: int = 1000,
    delayed: bool = False,
    retries: bool = False,
) -> list[str]:
    """Run every task that is due, those that they send too, until none is left; returns their ids in order.

    What is due is decided by the clock of the test process, which freezegun and time-machine may have set. With
    ``delayed``, tasks with a ``delay`` or ``eta`` run before their time; with ``retries``, so do the later attempts of
    those that have failed, or have asked to be run again.

    The first failure is raised as it was in the task, after it was recorded (with ``retries``, that of the last
    attempt); with ``raise_errors=False`` it only is recorded, and the task waits for its next attempt. Raises
    ``AssertionError`` when there are more than ``limit`` runs, ``RuntimeError`` outside of tests, ``NotSupported``
    where the broker does not give out what it delays (SQS, RabbitMQ, IronMQ, Disque).
    """
    if not is_test_process():
        raise RuntimeError("drain() is for tests: here it would take tasks out of the real queue.")
    client = get_client(cluster)
    clock = Clock(delayed=delayed, retries=retries)
    ids: list[str] = []
    early: list[Delivery] = []
    try:
        while deliveries := _lease(client, clock):
            if not _is_due(client, deliveries[0], clock):
                early += deliveries  # due by the clock of the server, which the test has not changed
                continue
            if len(ids) >= limit:
                early += deliveries
                raise AssertionError(f"{limit} tasks were run, and there are more: do they send or repeat each other?")
            ids.append(_run(client, deliveries[0], raise_errors=raise_errors, retries=retries))
    finally:
        if early:
            client.broker.release(early, refund_attempt=True)
    if delayed or retries:
        refuse_to_leave_delayed(client.broker)
    return ids


def _lease(client: Client, clock: Clock) -> Sequence[Delivery]:
    return client.broker.lease(1) or (client.broker.lease(1) if make_ready(client, clock) else ())


def _is_due(client: Client, delivery: Delivery, clock: Clock) -> bool:
    return clock.allows(client.codec.split(client.codec.verify(delivery.payload))[0])


@contextmanager
def run_tasks(
    cluster: str | None = None,
    *,
    raise_errors: bool = True,
    limit: int = 1000,
    delayed: bool = False,
    retries: bool = False,
) -> Iterator[list[str]]:
    """``drain`` at the end of the block, after what waits for the commit of the test's own transaction was sent::

        with run_tasks() as ids:
            client.post("/orders/")

    The list is filled at the end. If the block raises, nothing is run.
    """
    ids: list[str] = []
    with committing():
        yield ids
    ids += drain(cluster, raise_errors=raise_errors, limit=limit, delayed=delayed, retries=retries)


def _run(client: Client, delivery: Delivery, *, raise_errors: bool, retries: bool) -> str:
    job = Job(0, client.codec.verify(delivery.payload), delivery.receipt, delivery.attempt, client.settings.queue)
    with committing():
        outcome, error = _execute(client, job)
        client.record(outcome, client.broker)
    again = note_next_attempt(client, outcome)
    if raise_errors and not (retries and again is not None):
        raise_as_in_task(error)
    return outcome.id


def _execute(client: Client, job: Job) -> tuple[Outcome, BaseException | None]:
    """Execute in a savepoint, so that a database error in a task does not break the transaction of the test."""
    with ExitStack() as stack:
        aliases = _open_transactions()
        for alias in aliases:
            stack.enter_context(_savepoint(alias))
        outcome, error = client.execute(job)
        if isinstance(error, DatabaseError):
            for alias in aliases:
                transaction.set_rollback(True, using=alias)
    return outcome, error


def _savepoint(alias: str) -> transaction.Atomic:
    """A savepoint that is transparent for the task.

    Durable blocks are allowed in it if the enclosing block is that of a ``TestCase``.
    """
    block: Any = transaction.atomic(using=alias)
    around: Any = connections[alias].atomic_blocks
    block._from_testcase = bool(around) and around[-1]._from_testcase
    savepoint: transaction.Atomic = block
    return savepoint


@contextmanager
def committing() -> Iterator[None]:
    """Run the ``on_commit`` callbacks of the transactions that are open now (those of a ``TestCase``) after the block.

    The callbacks are removed afterwards, so that an enclosing block does not run them again.
    """
    with ExitStack() as stack:
        for alias in _open_transactions():
            waiting = connections[alias].run_on_commit
            stack.callback(_cut, alias, len(waiting))
            stack.enter_context(TestCase.captureOnCommitCallbacks(using=alias, execute=True))
        yield


def _cut(alias: str, length: int) -> None:
    del connections[alias].run_on_commit[length:]


def _open_transactions() -> list[str]:
    return [each.alias for each in connections.all(initialized_only=True) if each.in_atomic_block]


# ── inspecting ──────────────────────────────────────────────────────────────────────────────────────


def enqueued(cluster: str | None = None) -> list[TaskPackage]:
    """The queued tasks, delayed ones included, in the order of execution."""
    client = get_client(cluster)
    return [client.codec.loads(each.payload) for each in client.broker.peek(MANY)]


def assert_enqueued(
    func: Callable[..., Any] | str,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    cluster: str | None = None,
) -> TaskPackage:
    """The first queued call of this function, with these arguments if they are given; fails if there is none."""
    path, packages = dotted_path(func), enqueued(cluster)
    for package in packages:
        same_args = args is None or package.args == tuple(args)
        if package.header.func == path and same_args and (kwargs is None or package.kwargs == kwargs):
            return package
    wanted = "".join(f", {name}={value!r}" for name, value in (("args", args), ("kwargs", kwargs)) if value is not None)
    raise AssertionError(f"No call of {path}{wanted} is queued. {_described(packages)}")


def assert_nothing_enqueued(cluster: str | None = None) -> None:
    """Raise ``AssertionError`` if anything is queued."""
    if packages := enqueued(cluster):
        raise AssertionError(f"Nothing should be queued. {_described(packages)}")


def forget_enqueued(cluster: str | None = None) -> int:
    """Empty the queue and return the number of messages, for brokers that a rollback does not affect."""
    return get_client(cluster).broker.purge()


def _described(packages: Sequence[TaskPackage]) -> str:
    calls = "".join(f"\n  {_call(package)}" for package in packages) or " nothing."
    return f"Queued:{calls}{_hint()}"


def _call(package: TaskPackage) -> str:
    given = [repr(each) for each in package.args] + [f"{name}={value!r}" for name, value in package.kwargs.items()]
    return f"{package.header.func}({', '.join(given)})"


def _hint() -> str:
    callbacks = [entry[1] for each in connections.all(initialized_only=True) for entry in each.run_on_commit]
    waiting = sum(len(each.messages) for each in callbacks if isinstance(each, SendOnCommit) and not each.sent)
    if not waiting:
        return ""
    return (
        f"\nWaiting for the commit of a transaction: {waiting}. In a TestCase it never comes: send them with"
        " run_tasks() or captureOnCommitCallbacks(execute=True)."
    )
