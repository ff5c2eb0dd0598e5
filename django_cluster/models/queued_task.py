"""One message of the ORM broker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_cluster.core.codec import peek_header
from django_cluster.core.queue_names import parse_queue_name
from django_cluster.core.time import nearest_unix_time
from django_cluster.errors import PackageError
from django_cluster.models.aliases import Alias, AliasQuerySet, ConvertedField

NOT_READY_LANE = 1000
MICROSECONDS = 1_000_000


class KeyField(ConvertedField):
    """The meaning of ``key``: the queue without its namespace. A condition on it means the project's own namespace."""

    def to_column(self, value: Any) -> str:
        return QueuedTask.name_in_table(str(value))

    def from_column(self, value: Any) -> str:
        return parse_queue_name(value)


class LockField(ConvertedField):
    """The meaning of ``lock``: the moment before which no cluster takes the message.

    Of a message that is ready it is a moment in the past.
    """

    def to_column(self, value: Any) -> int:
        if isinstance(value, int):
            return value
        moment = models.DateTimeField(self.name).get_prep_value(value)
        return round((moment if moment.tzinfo else timezone.make_aware(moment)).timestamp() * MICROSECONDS)

    def from_column(self, value: Any) -> datetime:
        moment = datetime.fromtimestamp(nearest_unix_time(value / MICROSECONDS), UTC)
        return moment if timezone.is_aware(timezone.now()) else timezone.make_naive(moment)

    def assign(self, row: Any, value: Any) -> None:
        row.due = self.to_column(timezone.now() if value is None else value)
        ready = row.due <= self.to_column(timezone.now())
        row.lane, row.leased = (-row.priority, False) if ready else (NOT_READY_LANE, row.leased)

    def columns(self, value: Any) -> dict[str, Any]:
        if hasattr(value, "resolve_expression"):
            raise TypeError("lock can be set to a moment, and not to an expression.")
        now = self.to_column(timezone.now())
        due = now if value is None else self.to_column(value)
        if due > now:
            return {"due": due, "lane": NOT_READY_LANE}
        return {"due": due, "lane": -models.F("priority"), "leased": False}

    name: str


class QueuedTask(models.Model):
    """A message in the queue table, ready, delayed or leased.

    ``lane`` says both whether a row can be leased and in which order, so that one index serves every
    question of the broker: ready rows stand in the lane of their negated priority, rows that wait for
    their time (delayed or leased) in ``NOT_READY_LANE``. Moments are microseconds since 1970 (UTC) as integers:
    cheap to compare, and free of ``USE_TZ``.
    """

    NOT_READY_LANE = NOT_READY_LANE

    id = models.BigAutoField(primary_key=True)
    queue = models.CharField(_("queue"), max_length=100)
    lane = models.SmallIntegerField(_("lane"), default=0)
    due = models.BigIntegerField(_("due"), help_text=_("Microseconds since 1970: enqueued, due, or leased until"))
    priority = models.SmallIntegerField(_("priority"), default=0)
    lease_number = models.BigIntegerField(_("lease number"), default=0)
    leased = models.BooleanField(_("leased"), default=False)
    attempts = models.IntegerField(_("attempts"), default=0)
    payload = models.TextField(_("payload"))
    key: Alias[str] = Alias("queue", KeyField)
    lock: Alias[datetime] = Alias("due", LockField)

    objects: ClassVar[models.Manager[QueuedTask]] = AliasQuerySet.as_manager()

    name_in_table: ClassVar[Callable[[str], str]] = staticmethod(lambda key: key)
    """Returns the name in the table for a queue of this project; the app replaces it when Django starts."""

    class Meta:
        verbose_name = _("queued task")
        verbose_name_plural = _("queued tasks")
        indexes = (models.Index(fields=["queue", "lane", "due", "id"], name="django_cluster_queue_order"),)

    def __str__(self) -> str:
        return f"{self.queue} #{self.pk}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the row; a new one that names no moment is ready now."""
        if self.__dict__.get("due") is None and "due" not in self.get_deferred_fields():
            self.lock = timezone.now()
        if kwargs.get("update_fields"):
            meanings = {"key": {"queue"}, "lock": {"due", "lane", "leased"}}
            kwargs["update_fields"] = {
                field for name in kwargs["update_fields"] for field in meanings.get(name, {name})
            }
        super().save(*args, **kwargs)

    # ── Django-Q's questions, answered from the label: nothing is opened ─────────────────────────

    @property
    def task(self) -> dict[str, Any]:
        """What the label says; of what is no package only the id, ``*`` and the kind of error."""
        try:
            header = peek_header(self.payload)
        except PackageError as error:
            return {"id": f"*{type(error).__name__}"}
        return {"id": header.id, "name": header.name, "func": header.func, **header.options.to_wire()}

    def task_id(self) -> str:
        return str(self.task["id"])

    def name(self) -> str | None:
        return self.task.get("name")

    def func(self) -> str | None:
        return self.task.get("func")

    def group(self) -> str | None:
        return self.task.get("group")

    def q_options(self) -> dict[str, Any]:
        return {name: value for name, value in self.task.items() if name not in ("id", "name", "func", "group")}
