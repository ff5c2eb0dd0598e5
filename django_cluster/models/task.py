"""A finished task: one row, written when it ends, by ``stores.orm``."""

# ruff: noqa: DJ001  None means "not given", as Django-Q's rows say it: filter(group=None)
from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.db import models, router
from django.utils.translation import gettext_lazy as _

from django_cluster.core.messages import OutcomeStatus, TaskOptions
from django_cluster.core.post_mortem import PostMortem
from django_cluster.core.safe_text import printable
from django_cluster.core.sealed_rows import OF_A_COMPOSITION, arguments_context, open_arguments, result_context
from django_cluster.core.signing import NOT_SIGNED
from django_cluster.errors import BadSignature
from django_cluster.models.aliases import Alias, field_name
from django_cluster.models.correlation import CorrelationField
from django_cluster.models.pruned_group import ensure_whole
from django_cluster.models.row_signing import row_signer
from django_cluster.models.task_queries import ENDED_BADLY, ENDED_WELL, TaskQuerySet
from django_cluster.models.task_values import BETWEEN, OpenedField, seal_given

STATUSES = (
    (OutcomeStatus.SUCCESS.value, _("success")),
    (OutcomeStatus.FAILURE.value, _("failure")),
    (OutcomeStatus.TIMEOUT.value, _("timeout")),
    (OutcomeStatus.LOST.value, _("lost")),
    (OutcomeStatus.REJECTED.value, _("rejected")),
    (OutcomeStatus.DEAD.value, _("dead")),
    (OutcomeStatus.DISCARDED.value, _("discarded")),
    (OutcomeStatus.CANCELLED.value, _("cancelled")),
    (OutcomeStatus.EXPIRED.value, _("expired")),
)


def status_choices() -> list[tuple[str, Any]]:
    """Read at run time, so that a new way to end needs no migration."""
    return list(STATUSES)


UNSEALED = "The arguments of this task were not kept, so that it cannot be run again."


class Task(models.Model):
    """How a task ended. The arguments and the result stay sealed until they are read."""

    id = models.CharField(_("id"), max_length=32, primary_key=True, editable=False)
    name = models.CharField(_("name"), max_length=100, editable=False)
    func = models.CharField(_("function"), max_length=256, editable=False)
    hook = models.CharField(_("hook"), max_length=256, null=True, editable=False)
    group = models.CharField(_("group"), max_length=100, null=True, editable=False)
    queue = models.CharField(_("queue"), max_length=100, null=True, editable=False)
    cluster: Alias[str | None] = Alias("queue")
    correlation_id = CorrelationField(  # type: ignore[misc]  # never read as None
        _("correlation id"), max_length=100, null=True, editable=False
    )
    sealed_arguments = models.BinaryField(_("sealed arguments"), null=True)
    sealed_result = models.BinaryField(_("sealed result"), null=True)
    args: Alias[tuple[Any, ...]] = Alias("sealed_arguments", OpenedField)
    kwargs: Alias[dict[str, Any]] = Alias("sealed_arguments", OpenedField)
    result: Alias[Any] = Alias("sealed_result", OpenedField)
    status = models.CharField(_("status"), max_length=12, choices=status_choices, editable=False)
    success = models.BooleanField(_("success"), default=False, editable=False)
    final = models.BooleanField(
        _("final"), default=True, editable=False, help_text=_("Whether this was the last run of the task.")
    )
    attempt_count = models.IntegerField(_("runs"), default=1, editable=False)
    enqueued_at = models.DateTimeField(_("enqueued"), editable=False)
    started_at = models.DateTimeField(_("run started"), editable=False)
    stopped_at = models.DateTimeField(_("finished"), editable=False)
    started: Alias[datetime] = Alias("enqueued_at")
    stopped: Alias[datetime] = Alias("stopped_at")
    worker = models.CharField(_("worker"), max_length=100, blank=True, editable=False)
    error_kind = models.CharField(_("kind of error"), max_length=255, blank=True, editable=False)
    error_message = models.TextField(_("error"), blank=True, editable=False)
    error_traceback = models.TextField(_("traceback"), blank=True, editable=False)
    attempts = models.JSONField(
        _("earlier attempts"), null=True, editable=False, help_text=_("The last of the runs before this one.")
    )
    payload = models.TextField(
        _("payload"), null=True, editable=False, help_text=_("The message as it came, if it could never be run.")
    )
    options = models.JSONField(
        _("options"), null=True, editable=False, help_text=_("Those that were given and have no column of their own.")
    )

    fingerprint = models.CharField(
        _("fingerprint"),
        max_length=16,
        null=True,
        editable=False,
        help_text=_("The same for failures of the same kind: error, function, and innermost frame of the project."),
    )
    post_mortem_data = models.BinaryField(_("post-mortem"), null=True)

    retried_as = models.CharField(
        _("retried as"),
        max_length=32,
        null=True,
        editable=False,
        help_text=_("The task that was sent instead."),
    )

    objects = TaskQuerySet.as_manager()

    class Meta:
        app_label = "django_cluster"
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        ordering: ClassVar = ["-stopped_at"]
        permissions = (
            ("retry_task", "Can retry finished tasks"),
            ("export_task", "Can export finished tasks"),
            ("view_task_arguments", "Can view the arguments and results of tasks"),
        )
        indexes = (
            models.Index(fields=["success", "stopped_at"], name="django_cluster_task_ended"),
            models.Index(fields=["group", "success", "stopped_at"], name="django_cluster_task_group"),
            # With "success", as the others: SQLite, without statistics, would else read all successes for one name.
            models.Index(fields=["name", "success", "stopped_at"], name="django_cluster_task_name"),
            models.Index(fields=["func", "success", "stopped_at"], name="django_cluster_task_func"),
            models.Index(fields=["correlation_id"], name="django_cluster_task_correlated"),
            models.Index(fields=["fingerprint"], name="django_cluster_task_finger"),
        )

    def __str__(self) -> str:
        return printable(self.name or self.id)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the row; what Django-Q's columns say is enough for a new one."""
        if kwargs.get("update_fields"):
            kwargs["update_fields"] = {field_name(type(self), name) for name in kwargs["update_fields"]}
        self.complete()
        super().save(*args, **kwargs)

    def complete(self) -> None:
        """Let the columns that Django-Q has not follow from those that it has."""
        if self._state.adding:
            self.started_at = self.started_at or self.enqueued_at
            self.status = self.status or (OutcomeStatus.SUCCESS if self.success else OutcomeStatus.FAILURE).value
        seal_given(self)

    # ── what was called, and what came of it ─────────────────────────────────────────────────────

    def opened(self, name: str) -> Any:
        """``args``, ``kwargs``, or ``result``: what the function returned, or of a failed task the text of its error.

        Raises ``PackageError`` when the value can no longer be read.
        """
        if name != "result":
            return self._arguments()[0 if name == "args" else 1]
        if self.success:
            return row_signer().loads(self.sealed_result, result_context(self.id))
        return BETWEEN.join(text for text in (self.error_message, self.error_traceback) if text)

    @property
    def given_options(self) -> TaskOptions:
        """Everything that the caller chose; ``queue`` is the queue on which it was run.

        The place of a success in a composition is not among it: sent again, it is a task of its own.
        """
        others = self.options if isinstance(self.options, dict) else {}
        if self.success:
            others = {name: value for name, value in others.items() if name not in OF_A_COMPOSITION}
        columns = {name: getattr(self, name) for name in ("hook", "group", "queue")}
        columns["correlation_id"] = None if self.correlation_id == self.id else self.correlation_id
        return TaskOptions.from_wire({**others, **columns})

    def call(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """(args, kwargs), if id, function, hook, queue, options and arguments are as a cluster has written them.

        Raises ``PackageError`` if any of them was changed, or if the arguments were not kept.
        """
        if self.sealed_arguments is None:
            raise BadSignature(UNSEALED)
        args, kwargs, queue = self._opened()
        if (self.queue or "") != queue and (self.queue or self._state.db is not None):
            raise BadSignature(NOT_SIGNED)
        return args, kwargs

    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self._opened()[:2] if self.sealed_arguments is not None else ((), {})

    def _opened(self) -> tuple[tuple[Any, ...], dict[str, Any], str]:
        options = self.options if isinstance(self.options, dict) else {}
        context = arguments_context(self.id, self.func, options, hook=self.hook, success=self.success)
        assert self.sealed_arguments is not None
        return open_arguments(row_signer(), self.sealed_arguments, context)

    @property
    def post_mortem(self) -> PostMortem | None:
        """What is known of the failed run beside its error; None if nothing was kept, or it cannot be read."""
        if self.post_mortem_data is None:
            return None
        try:
            return PostMortem.unpacked(self.post_mortem_data)
        except ValueError:
            return None

    def same_kind(self) -> TaskQuerySet:
        """The rows of failures with the fingerprint of this one, itself included; none where it has none."""
        rows = TaskQuerySet(Task, using=self._state.db)
        return rows.filter(fingerprint=self.fingerprint) if self.fingerprint else rows.none()

    # ── when ─────────────────────────────────────────────────────────────────────────────────────

    def time_taken(self) -> float:
        """Seconds from being enqueued to its end, the waiting included."""
        return (self.stopped_at - self.enqueued_at).total_seconds()

    @property
    def run_time(self) -> float:
        """Seconds for which the last run went on."""
        return (self.stopped_at - self.started_at).total_seconds()

    # ── Django-Q's questions ─────────────────────────────────────────────────────────────────────

    @staticmethod
    def get_task(task_id: str) -> Task | None:
        return saved_tasks().find(task_id)

    @staticmethod
    def get_result(task_id: str) -> Any:
        task = saved_tasks().find(task_id)
        return task.result if task is not None else None

    @staticmethod
    def get_task_group(group_id: str, failures: bool = True) -> TaskQuerySet:
        return saved_tasks().in_group(group_id, failures=failures)

    @staticmethod
    def get_result_group(group_id: str, failures: bool = False) -> list[Any]:
        """Raises ``ResultsPruned`` when some of them are no longer kept."""
        rows = saved_tasks()
        results = [task.result for task in rows.in_group(group_id, failures=failures)]
        ensure_whole(rows.db, group_id, failures=failures)
        return results

    @staticmethod
    def get_group_count(group_id: str, failures: bool = False) -> int:
        return saved_tasks().count_group(group_id, failures=failures)

    @staticmethod
    def delete_group(group_id: str, objects: bool = False) -> int:
        return saved_tasks().forget_group(group_id, tasks=objects)

    def group_result(self, failures: bool = False) -> list[Any]:
        return self.get_result_group(self.group, failures) if self.group else []

    def group_count(self, failures: bool = False) -> int:
        return self.get_group_count(self.group, failures) if self.group else 0

    def group_delete(self, tasks: bool = False) -> int:
        return self.delete_group(self.group, tasks) if self.group else 0


def saved_tasks(using: str | None = None) -> TaskQuerySet:
    """All finished tasks, in the named database or where they are written: a replica may not have the newest."""
    return TaskQuerySet(Task, using=using or router.db_for_write(Task))


class SuccessManager(models.Manager["Success"]):
    def get_queryset(self) -> models.QuerySet[Success]:
        rows: Any = TaskQuerySet(self.model, using=self._db).filter(ENDED_WELL)
        return rows  # type: ignore[no-any-return]  # of this proxy


class Success(Task):
    """A task that returned."""

    objects: ClassVar[SuccessManager] = SuccessManager()  # type: ignore[assignment]  # fewer rows on purpose

    class Meta:
        app_label = "django_cluster"
        proxy = True
        verbose_name = _("successful task")
        verbose_name_plural = _("successful tasks")


class FailureManager(models.Manager["Failure"]):
    def get_queryset(self) -> models.QuerySet[Failure]:
        rows: Any = TaskQuerySet(self.model, using=self._db).filter(ENDED_BADLY)
        return rows  # type: ignore[no-any-return]  # of this proxy


class Failure(Task):
    """A task that did not return: it raised, ran too long, died or could not be run."""

    objects: ClassVar[FailureManager] = FailureManager()  # type: ignore[assignment]  # fewer rows on purpose

    class Meta:
        app_label = "django_cluster"
        proxy = True
        verbose_name = _("failed task")
        verbose_name_plural = _("failed tasks")
