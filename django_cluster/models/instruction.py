"""What an operator has told the clusters to do: rows that their monitors read with each heartbeat."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class Instruction(models.Model):
    """``pause``: no cluster takes anything from the queue ``target`` while the row is there.
    ``recycle``: the cluster ``target`` replaces the worker in ``seat`` after its present task, and deletes the row.
    """

    PAUSE, RECYCLE = "pause", "recycle"

    id = models.BigAutoField(primary_key=True)
    verb = models.CharField(_("verb"), max_length=12, editable=False)
    target = models.CharField(_("target"), max_length=100, editable=False)
    seat = models.BigIntegerField(_("seat"), default=0, editable=False)
    by = models.CharField(_("given by"), max_length=150, blank=True, editable=False)
    given = models.BigIntegerField(_("given"), default=0, editable=False, help_text=_("Microseconds since 1970"))

    class Meta:
        app_label = "django_cluster"
        verbose_name = _("instruction")
        verbose_name_plural = _("instructions")
        constraints = (
            models.UniqueConstraint(fields=["verb", "target", "seat"], name="django_cluster_instruction_once"),
        )
        default_permissions = ()
        permissions: ClassVar = [
            ("pause_queue", "Can pause and resume queues"),
            ("recycle_worker", "Can replace workers of a running cluster"),
            ("withdraw_task", "Can withdraw waiting tasks"),
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.target}"
