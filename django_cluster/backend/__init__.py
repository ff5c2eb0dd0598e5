"""``ClusterBackend``: Django's Tasks framework on a cluster.

::

    TASKS = {"default": {"BACKEND": "django_cluster.backend.ClusterBackend"}}

It is made where tasks are declared, which may be before the models are ready: no model is imported before a task is
enqueued.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.checks import CheckMessage

from django_cluster.backend.checks import backend_problems
from django_cluster.backend.options import BackendOptions, option_problems, parse_options
from django_cluster.core.import_paths import load_object
from django_cluster.errors import UnknownFunction
from django_cluster.framework.cluster_task import ClusterTask
from django_cluster.framework.compat import BaseTaskBackend, FrameworkTask, InvalidTask, TaskResultDoesNotExist

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_QUEUE = "default"
"""The framework's name for the queue of the cluster itself."""


class ClusterBackend(BaseTaskBackend):
    """A backend of Django's Tasks framework that has its tasks run by ``manage.py qcluster``.

    ``OPTIONS``: ``MAX_ATTEMPTS``, ``BACKOFF``, ``TIMEOUT``, ``ON_COMMIT`` and ``CLUSTER``.
    """

    task_class = ClusterTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_metadata = True

    @property
    def supports_priority(self) -> bool:  # type: ignore[override]  # a class attribute in the base
        """Whether the broker of the cluster has priorities. Before the models are ready: yes, until it is asked again
        when a task is enqueued."""
        if not apps.models_ready:
            return True
        from django_cluster.backend.sending import has_priorities

        return has_priorities(self.read_options().cluster)

    def read_options(self) -> BackendOptions:
        """Read at each use, so that an instance holds nothing. Raises ``ValueError`` for options that make no sense."""
        return parse_options(self.options)

    # ── names of queues ──────────────────────────────────────────────────────────────────────────

    def cluster_queue(self, queue_name: str) -> str | None:
        """The queue of the cluster for a queue of the framework; None = that of the settings."""
        return self.read_options().cluster if queue_name == DEFAULT_QUEUE else queue_name

    def framework_queue(self, queue: str | None) -> str:
        """The inverse of ``cluster_queue``."""
        return DEFAULT_QUEUE if queue is None or queue == self.read_options().cluster else queue

    def backoff_of(self, task: Any) -> Callable[..., Any] | None:
        """The function that says when a failed task is tried again: the task's own, or that of ``OPTIONS``."""
        own: Callable[..., Any] | None = getattr(task, "backoff", None)
        return own or self.read_options().backoff

    def validate_task(self, task: Any) -> None:
        """Raise ``InvalidTask`` for a task that this backend cannot run."""
        super().validate_task(task)
        for name in ("max_attempts", "backoff", "timeout"):
            if (value := getattr(task, name, None)) is not None and (problem := option_problems({name.upper(): value})):
                raise InvalidTask(" ".join(problem))

    # ── enqueueing ───────────────────────────────────────────────────────────────────────────────

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Enqueue a call of a task; returns its ``TaskResult``, which is ``READY``.

        With a queue in the database, row and message are written in the transaction of the caller. With any other, the
        message is sent after its commit (``ON_COMMIT``). Raises ``InvalidTask``, ``TypeError`` and ``ValueError`` for
        arguments that are no JSON, ``BrokerUnavailable``, ``BrokerRefused``, ``StoreUnavailable``.
        """
        return self.enqueue_many([(task, args, kwargs)])[0]

    def enqueue_many(self, calls: Iterable[tuple[Any, Sequence[Any], Mapping[str, Any]]]) -> list[Any]:
        """Enqueue calls, each a tuple (task, args, kwargs), in as few round trips as possible; returns their results,
        in order. Raises as ``enqueue``."""
        from django_cluster.backend.sending import prepare, submit

        prepared = []
        for task, args, kwargs in calls:
            self.validate_task(task)
            ensure_importable(task)
            prepared.append(prepare(self, task, args, kwargs))
        return submit(prepared, self.read_options().on_commit)

    # ── results ──────────────────────────────────────────────────────────────────────────────────

    def get_result(self, result_id: str) -> Any:
        """The ``TaskResult`` with this id.

        Raises ``TaskResultDoesNotExist``, ``UnknownFunction`` if the function of the task is gone,
        ``StoreUnavailable``.
        """
        from django_cluster.backend.sending import find_row
        from django_cluster.framework.results import result_of_row

        row = find_row(result_id)
        if row is None:
            raise TaskResultDoesNotExist(f"There is no result of the id {result_id!r}.")
        return result_of_row(row)

    # ── checks ───────────────────────────────────────────────────────────────────────────────────

    def check(self, **_: Any) -> list[CheckMessage]:
        """What ``manage.py check`` says of this alias."""
        return backend_problems(self.alias, self.options, self.queues)


def ensure_importable(task: Any) -> None:
    """Raise ``InvalidTask`` for a task that no worker would find under the path of its function."""
    path = task.module_path
    if task.func.__module__ == "__main__":
        raise InvalidTask(f"No worker can run this task: {path} is of this program. Declare it in a module.")
    try:
        found = load_object(path)
    except UnknownFunction as error:
        raise InvalidTask(f"No worker can run this task: {error}") from error
    if not isinstance(found, FrameworkTask) or found.func is not task.func:
        raise InvalidTask(
            f"No worker can run this task: {path} is not the task itself. Declare it with @task under the name of its"
            " function, at the level of a module."
        )
