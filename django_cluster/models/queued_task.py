"""One message of the ORM broker."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class QueuedTask(models.Model):
    """A message that waits in, or is lent from, the queue table.

    ``lane`` says both whether a row can be lent and in which order, so that one index serves every
    question of the broker: ready rows stand in the lane of their negated priority, rows that wait for
    their time (delayed or lent) in ``PARKED``. Moments are microseconds since 1970 (UTC) as integers:
    cheap to compare, and free of ``USE_TZ``.
    """

    PARKED = 1000

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
        verbose_name = _("Queued task")
        verbose_name_plural = _("Queued tasks")
        permissions = (("withdraw_queuedtask", "Can withdraw tasks that wait"),)
        indexes = (models.Index(fields=["queue", "lane", "due", "id"], name="django_cluster_queue_order"),)

    def __str__(self) -> str:
        return f"{self.queue} #{self.pk}"
