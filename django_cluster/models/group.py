"""Compositions: what is known of a group and of its members until what follows has been sent.

Nothing of it is written for tasks that belong to no composition. ``stores.orm_groups`` writes these rows.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_cluster.core.compositions import PendingStep
from django_cluster.core.sealed_rows import result_context
from django_cluster.models.row_signing import row_signer


class TaskGroup(models.Model):
    """Tasks of which something follows when all of them have ended.

    The packages that follow are signed by the process that sent the group, and are not opened before they are run.
    """

    id = models.CharField(_("id"), max_length=32, primary_key=True, editable=False)
    total = models.IntegerField(_("tasks"))
    done = models.IntegerField(_("ended"), default=0)
    failed = models.IntegerField(_("failed"), default=0)
    on_success = models.TextField(_("what follows a success"), blank=True)
    on_failure = models.TextField(_("what follows a failure"), blank=True)
    success_sent = models.BooleanField(default=False, help_text=_("What follows a success is sent, or is about to be."))
    failure_sent = models.BooleanField(default=False, help_text=_("What follows a failure is sent, or is about to be."))
    created_at = models.DateTimeField(_("sent"), default=timezone.now)

    class Meta:
        app_label = "django_cluster"
        verbose_name = _("group of tasks")
        verbose_name_plural = _("groups of tasks")
        indexes = (models.Index(fields=["created_at"], name="django_cluster_group_age"),)

    def __str__(self) -> str:
        return self.id


class GroupMember(models.Model):
    """A place in a chain, a group or an iter, whose task has ended for good."""

    id = models.CharField(_("id"), max_length=64, primary_key=True, editable=False)
    of = models.CharField(_("composition"), max_length=32)
    position = models.IntegerField(_("position"))
    task = models.CharField(_("task"), max_length=32)
    success = models.BooleanField(_("success"))
    pending_step = models.CharField(_("pending step"), max_length=8, default=PendingStep.NOTHING, blank=True)
    claimed_by = models.CharField(_("claimed by"), max_length=64, default="", blank=True)
    claimed_at = models.DateTimeField(_("claimed at"), null=True)
    sealed_result = models.BinaryField(_("sealed result"), null=True)
    error = models.TextField(_("error"), blank=True)
    noted_at = models.DateTimeField(_("noted"), default=timezone.now)

    class Meta:
        app_label = "django_cluster"
        verbose_name = _("member of a group")
        verbose_name_plural = _("members of groups")
        indexes = (
            models.Index(fields=["of", "position"], name="django_cluster_member_place"),
            models.Index(fields=["pending_step", "noted_at"], name="django_cluster_member_step"),
        )

    def __str__(self) -> str:
        return self.id

    @property
    def result(self) -> Any:
        """What the task returned, if it was kept. Raises ``PackageError`` when it can no longer be read."""
        return row_signer().loads(self.sealed_result, result_context(self.task))
