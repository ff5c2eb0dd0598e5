"""What a task keeps for its next run."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class TaskCheckpoint(models.Model):
    """The last value that a task has kept with ``current_task().checkpoint``; deleted when the task has ended."""

    id = models.CharField(_("id"), max_length=32, primary_key=True, editable=False)
    sealed_value = models.BinaryField(_("value"))
    saved_at = models.DateTimeField(_("saved"), default=timezone.now, db_index=True)

    class Meta:
        app_label = "django_cluster"
        verbose_name = _("checkpoint")
        verbose_name_plural = _("checkpoints")
        default_permissions = ()

    def __str__(self) -> str:
        return self.id
