"""The last heartbeat of a running cluster: one row each, written every few seconds by its monitor."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Heartbeat(models.Model):
    """What ``stores.status`` keeps; other modules read it there.

    ``heartbeat_at`` is a moment of the database's clock, so that the clocks of hosts need not agree.
    """

    id = models.CharField(_("id"), max_length=36, primary_key=True, editable=False)
    name = models.CharField(_("name"), max_length=100, editable=False)
    host = models.CharField(_("host"), max_length=255, editable=False)
    pid = models.BigIntegerField(_("process id"), editable=False)
    heartbeat_at = models.BigIntegerField(_("last heartbeat"), editable=False, help_text=_("Microseconds since 1970"))
    document = models.TextField(_("document"), editable=False)

    class Meta:
        app_label = "django_cluster"
        verbose_name = _("cluster")
        verbose_name_plural = _("clusters")

    def __str__(self) -> str:
        return f"{self.name} on {self.host} ({self.pid})"
