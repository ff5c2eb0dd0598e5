"""A payload that was too large for its broker, which carries a ticket for it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class LargePayload(models.Model):
    """Written by ``brokers.payload_offload`` before the ticket is sent, and deleted after its message was forgotten.

    Moments are microseconds since 1970 (UTC), of the database's clock.
    """

    id = models.CharField(_("id"), max_length=32, primary_key=True, editable=False)
    queue = models.CharField(_("queue"), max_length=100, editable=False)
    created_at = models.BigIntegerField(_("created"), editable=False)
    keep_until = models.BigIntegerField(
        _("keep until"), null=True, editable=False, help_text=_("When the broker has forgotten the ticket at last")
    )
    payload = models.TextField(_("payload"), editable=False)

    class Meta:
        verbose_name = _("large payload")
        verbose_name_plural = _("large payloads")

    def __str__(self) -> str:
        return f"{self.queue} {self.pk}"
