"""Retry finished tasks, one or many in few round trips. Their rows stay, and name the new tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from django_cluster.brokers import needs_delay_queue
from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.brokers.publisher import delay_queue
from django_cluster.client.client import Client, get_client
from django_cluster.conf import load_settings
from django_cluster.core.batching import batches
from django_cluster.core.codec import header_of
from django_cluster.core.headers import read_header, write_header
from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage, path_of_class
from django_cluster.core.packages import build_packages
from django_cluster.core.signing import NOT_SIGNED
from django_cluster.core.task_ids import task_name
from django_cluster.errors import (
    BadSignature,
    ClusterError,
    MessageTooOld,
    NotSerializable,
    NotSupported,
    PackageError,
    PayloadMissing,
    PayloadTooLarge,
)
from django_cluster.lifecycle.admission import allowed_functions
from django_cluster.lifecycle.cancellation import SEARCH_DEPTH, verified_headers
from django_cluster.lifecycle.rejection import id_of_payload
from django_cluster.models import Task
from django_cluster.models.task import saved_tasks
from django_cluster.stores.cancel_requests import CancelRequestStore

BATCH_SIZE = 100
"""Rows that are read and sent together."""
RETRY_LOST_AFTER = timedelta(days=1)
"""After which a broker that cannot show its queue is taken to have lost the retry of a task."""
UNSENDABLE = (PackageError, NotSerializable, NotSupported, PayloadTooLarge)
"""What is wrong with a package itself, said before anything is sent."""


def retry(task: Task, *, as_new: bool = False, on_commit: bool | str | None = None) -> str:
    """Run a finished task again; returns the id under which it runs.

    Where the row has kept the message (the task was rejected, or is dead), the message returns to its queue unchanged,
    under the same id, with no attempts counted. Any other task, and with ``as_new`` any task at all, is sent as a new
    task with a new id and the options that it had, but for ``delay``, ``eta`` and ``expires``. The old row stays, and
    names the new task in ``retried_as``.

    A task that the cluster is going to retry by itself has that retry cancelled first. Of other new tasks ``on_commit``
    says when they are sent, as the option of ``async_task``.

    Raises ``PackageError`` when the arguments can no longer be read, ``ClusterError`` when a retry of the task is
    running or the broker cannot tell, ``FunctionNotAllowed``, ``BrokerUnavailable``, ``BrokerRefused``; in sync mode
    what the task raises.
    """
    keeps_message = bool(task.payload) and not as_new and not _is_too_old(task)
    package = None if keeps_message else package_of(task)  # raises before the waiting retry is cancelled
    forget_cancel_requests([task])
    with _all_or_nothing(task):
        if not task.final:
            cancel_waiting_retries([task])
            on_commit = False
        if package is None:
            _enqueue_kept_message(task)
            return task.id
        _send(task, package, on_commit=on_commit)
    return package.id


def _send(task: Task, package: TaskPackage, *, on_commit: bool | str | None) -> None:
    """Send to the broker that the task named. In sync mode it runs here, and may raise after it was recorded."""
    client = get_client(task.queue)
    try:
        client.submit([package], broker=package.header.options.broker, on_commit=on_commit)
    except Exception:
        if client.settings.sync and client.results.get(package.id) is not None:
            _note([(task, package.id)])
        raise
    _note([(task, package.id)])


def _enqueue_kept_message(task: Task) -> None:
    """Return the kept message to its queue: the same id, no attempts yet."""
    client = get_client(task.queue)
    if (header := _kept_header(task)) is not None:
        allowed_functions(client.settings.signing.functions).check_package(header)
    with transaction.atomic(using=task._state.db):
        _forget_attempts([task])
        if task.given_options.tracked:
            client.results.tracked.reopen([task.id])
        broker = client.broker_named(task.given_options.broker)
        broker.enqueue([_message_of(task, broker)])


def _is_too_old(task: Task) -> bool:
    """Whether it was rejected because of its age: the message would be rejected again."""
    return task.error_kind == path_of_class(MessageTooOld)


def _all_or_nothing(task: Task) -> AbstractContextManager[None]:
    """Where the queue is in the database of the row, a retry that cannot be replaced is not taken out of it."""
    client = get_client(task.queue)
    database = task._state.db
    if task.final or client.settings.sync or database is None:
        return nullcontext()
    together = client.broker_named(task.given_options.broker).database == database
    return transaction.atomic(using=database) if together else nullcontext()


@dataclass(slots=True)
class RetryReport:
    """What became of many tasks that were to be sent again."""

    sent: int = 0
    retried_before: int = 0
    """Left alone, because they had been retried before."""
    errors: list[str] = field(default_factory=list)
    """Why others were not sent: a sentence each."""


def retry_many(keys: Sequence[str], database: str | None = None, *, again: bool = False) -> RetryReport:
    """Send the tasks of these ids again, a hundred in a round trip; the rows stay, and name the new runs.

    Tasks that were retried before (unless ``again``), or whose rows are gone, are left alone. What fails is reported,
    and stops no other.
    """
    report = RetryReport()
    rows = saved_tasks(database)
    wanted = list(dict.fromkeys(keys))
    for batch in batches(wanted, most=BATCH_SIZE):
        found = rows.in_bulk(batch)
        tasks = [found[key] for key in batch if key in found]
        fresh = [task for task in tasks if again or not _was_retried(task)]
        report.retried_before += len(tasks) - len(fresh)
        _retry_batch(fresh, report)
    return report


def _was_retried(task: Task) -> bool:
    """Whether it was retried as another task, or its kept message was sent and has not been run since."""
    return bool(task.retried_as or (task.payload and task.attempt_count == 0))


def retry_in_background(keys: Sequence[str], database: str | None = None) -> dict[str, Any]:
    """The task behind the admin's action on many rows: ``retry_many``, with a result that can be read."""
    report = retry_many(keys, database)
    return {"sent": report.sent, "retried before": report.retried_before, "errors": report.errors[:BATCH_SIZE]}


def _retry_batch(tasks: Sequence[Task], report: RetryReport) -> None:
    """Tasks of one queue go together; each of the rest by itself, so that its error is its own."""
    together: dict[str | None, list[tuple[Task, TaskPackage]]] = defaultdict(list)
    for task in tasks:
        try:
            sync = get_client(task.queue).settings.sync
            if not task.final or task.payload or task.given_options.broker or sync:
                retry(task, on_commit=False)
                report.sent += 1
            else:
                together[task.queue].append((task, package_of(task)))
        except Exception as error:  # noqa: BLE001  in sync mode the task itself runs here
            report.errors.append(f"{task}: {error}")
    for queue, pairs in together.items():
        _send_together(get_client(queue), pairs, report)


def _send_together(client: Client, pairs: Sequence[tuple[Task, TaskPackage]], report: RetryReport) -> None:
    try:
        forget_cancel_requests([task for task, _ in pairs])
        client.submit([package for _, package in pairs], on_commit=False)
    except UNSENDABLE as error:
        if len(pairs) > 1:  # nothing was sent: alone, each shows whether it is the one
            for pair in pairs:
                _send_together(client, [pair], report)
        else:
            report.errors.append(f"{pairs[0][0]}: {error}")
        return
    except ClusterError as error:
        report.errors += [f"{task}: {error}" for task, _ in pairs]
        return
    _note([(task, package.id) for task, package in pairs])
    report.sent += len(pairs)


def package_of(task: Task) -> TaskPackage:
    args, kwargs, given = _call_of(task)
    options = replace(given, group=task.group, not_before=None, expires_at=None, schedule=None)
    options = replace(options, correlation_id=task.correlation_id, earlier_runs=0)
    name = task.name if task.name != task_name(task.id) else None
    package = build_packages(task.func, [args], kwargs, options, name)[0]
    read_header(write_header(package.header))  # the label that the row gives may be one that no message can have
    return package


def _call_of(task: Task) -> tuple[tuple[Any, ...], dict[str, Any], TaskOptions]:
    """Arguments and options as the row has them, or the message of a task that was rejected unopened.

    Raises ``PackageError`` if the row is not as a cluster has written it.
    """
    if task.sealed_arguments is None and task.payload:
        _kept_header(task)
        package = get_client(task.queue).codec.loads(task.payload)
        return package.args, dict(package.kwargs), replace(package.header.options, queue=task.queue)
    args, kwargs = task.call()
    return args, kwargs, task.given_options


def _kept_header(task: Task) -> TaskHeader | None:
    """What the message in the row says of its task; None for a message that cannot be read here.

    Raises ``BadSignature`` if it is the message of another task than the row says.
    """
    payload = task.payload or ""
    header: TaskHeader | None = None
    try:
        header = header_of(get_client(task.queue).codec.verify(payload))
    except PayloadMissing as error:
        header = header_of(error.body) if error.body else None
    except PackageError:
        pass
    if header is None:
        return None  # nor will any cluster run it, unless it gets the key with which it was signed
    unread = not task.func and task.id == id_of_payload(payload)  # it could not be read when it was rejected
    if not unread and (task.id, task.func, task.hook) != (header.id, header.func, header.options.hook):
        raise BadSignature(NOT_SIGNED)
    return header


def _message_of(task: Task, broker: Broker) -> Message:
    return Message(task.payload or "", task.given_options.priority if broker.capabilities.priority else 0)


def _note(pairs: Sequence[tuple[Task, str]]) -> None:
    """The new runs are known to the old rows; a task that is a row nowhere (from the cache) has nothing to note."""
    for task, new_id in pairs:
        task.retried_as = new_id
    saved = [task for task, _ in pairs if task._state.db is not None]
    if saved:
        saved_tasks(saved[0]._state.db).bulk_update(saved, ["retried_as"])


def _forget_attempts(tasks: Sequence[Task]) -> None:
    keys = [task.pk for task in tasks]
    saved_tasks(tasks[0]._state.db).filter(pk__in=keys, success=False).update(attempt_count=0)


def forget_cancel_requests(tasks: Sequence[Task]) -> None:
    """Tasks that are sent again are not cancelled any more, nor are their compositions. Raises ``StoreUnavailable``."""
    names = {name for task in tasks for name in (task.id, task.group, *(task.given_options.member or ())[:1]) if name}
    CancelRequestStore(load_settings().results.database).remove(sorted(map(str, names)))


# ── tasks that are to be tried again by themselves ───────────────────────────────────────────────


def cancel_waiting_retries(tasks: Sequence[Task]) -> None:
    """Take the waiting retry of each task out of its queue, and call its row final: the caller sends a new run.

    The broker is asked, not the row: its message may have been withdrawn or lost. Raises ``ClusterError`` when a retry
    is leased at this moment, and when the broker cannot show its queue, unless the last run ended a day ago.
    """
    for task in tasks:
        for broker in _queues_of(task):
            if not broker.capabilities.peek:
                if task.stopped_at > timezone.now() - RETRY_LOST_AFTER:
                    raise ClusterError("This task will be tried again by itself; its broker cannot say when.")
                continue
            keys = _waiting_keys(task, broker)
            if keys and broker.cancel(keys) < len(keys):
                raise ClusterError("This task is being tried again at this moment.")
        saved_tasks(task._state.db).filter(pk=task.pk, final=False).update(final=True)
        task.final = True


def _queues_of(task: Task) -> Iterator[Broker]:
    broker = get_client(task.queue).broker_named(task.given_options.broker)
    yield broker
    if needs_delay_queue(broker.settings):
        yield delay_queue(broker.settings)


def _waiting_keys(task: Task, broker: Broker) -> list[str]:
    """Names of the waiting messages of this task. Raises ``ClusterError`` where they cannot be told, or are leased."""
    codec, seen = get_client(task.queue).codec, broker.peek(SEARCH_DEPTH)
    mine = [each for each, header in verified_headers(seen, codec) if header.id == task.id]
    if any(each.leased or not broker.capabilities.cancel for each in mine):
        raise ClusterError("This task is being tried again at this moment, or will be by itself.")
    if not mine and len(seen) >= SEARCH_DEPTH:
        raise ClusterError(f"This task may be tried again by itself, behind {SEARCH_DEPTH} others in its queue.")
    return [each.key for each in mine]
