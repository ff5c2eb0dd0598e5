"""One message of the ORM broker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_cluster.core.codec import peek_header
from django_cluster.core.queue_names import parse_queue_name
from django_cluster.core.time import nearest_unix_time
from django_cluster.errors import PackageError


class QueuedTask(models.Model):
    """A message in the queue table, ready, delayed or leased.

    ``lane`` says both whether a row can be leased and in which order, so that one index serves every
    question of the broker: ready rows stand in the lane of their negated priority, rows that wait for
    their time (delayed or leased) in ``NOT_READY_LANE``. Moments are microseconds since 1970 (UTC) as integers:
    cheap to compare, and free of ``USE_TZ``.
    """

    NOT_READY_LANE = 1000

    id = models.BigAutoField(primary_key=True)
    queue = models.CharField(_("queue"), max_length=100)
    lane = models.SmallIntegerField(_("lane"), default=0)
    due = models.BigIntegerField(_("due"), help_text=_("Microseconds since 1970: enqueued, due, or leased until"))
    priority = models.SmallIntegerField(_("priority"), default=0)
    lease_number = models.BigIntegerField(_("lease number"), default=0)
    leased = models.BooleanField(_("leased"), default=False)
    attempts = models.IntegerField(_("attempts"), default=0)
    payload = models.TextField(_("payload"))

    class Meta:
        verbose_name = _("queued task")
        verbose_name_plural = _("queued tasks")
        indexes = (models.Index(fields=["queue", "lane", "due", "id"], name="django_cluster_queue_order"),)

    def __str__(self) -> str:
        return f"{self.queue} #{self.pk}"

    # ── Django-Q's questions, answered from the label: nothing is opened ─────────────────────────

    @property
    def key(self) -> str:
        """The queue without its namespace."""
        return parse_queue_name(self.queue)

    @property
    def lock(self) -> datetime | None:
        """Django-Q's column: until when the message is leased or delayed. None: it is ready."""
        return (
            datetime.fromtimestamp(nearest_unix_time(self.due / 1_000_000), UTC)
            if self.lane == self.NOT_READY_LANE
            else None
        )

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
