"""Commands of operators to clusters: rows that their monitors read with each heartbeat."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class OperatorCommand(models.Model):
    """``pause``: no cluster takes anything from the queue ``target`` while the row is there and ``until`` is not past.
    ``pause_task``: no cluster runs the function ``target`` meanwhile.
    ``cancel``: no cluster runs the task ``target``, or tasks of the group or chain ``target``, while the row is there
    and ``until`` is not past.
    ``restart``: the cluster ``target`` restarts the worker ``incarnation`` after its present task, and deletes the row.
    """

    PAUSE, PAUSE_TASK, RESTART, CANCEL = "pause", "pause_task", "restart", "cancel"

    id = models.BigAutoField(primary_key=True)
    verb = models.CharField(_("verb"), max_length=12, editable=False)
    target = models.CharField(_("target"), max_length=256, editable=False)
    incarnation = models.BigIntegerField(_("incarnation"), default=0, editable=False)
    by = models.CharField(_("given by"), max_length=150, blank=True, editable=False)
    given_at = models.BigIntegerField(_("given"), default=0, editable=False, help_text=_("Microseconds since 1970"))
    until = models.BigIntegerField(_("until"), null=True, editable=False, help_text=_("Microseconds since 1970"))

    class Meta:
        app_label = "django_cluster"
        verbose_name = _("operator command")
        verbose_name_plural = _("operator commands")
        constraints = (
            models.UniqueConstraint(fields=["verb", "target", "incarnation"], name="django_cluster_command_once"),
        )
        default_permissions = ()
        permissions: ClassVar = [
            ("pause_queue", "Can pause and resume queues"),
            ("restart_worker", "Can restart workers of a running cluster"),
            ("cancel_task", "Can cancel tasks"),
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.target}"
