"""The keys of messages of the ORM broker that were acknowledged a moment ago."""

from __future__ import annotations

from django.db import models


class AcknowledgedMessages(models.Model):
    """One acknowledgement of any number of messages; deleted after a few minutes.

    A sender whose connection broke before the answer came finds its message here when the task has already run
    (``brokers/orm_publisher.py``). The moment is microseconds since 1970 (UTC), of the database's clock.
    """

    id = models.BigAutoField(primary_key=True)
    acknowledged_at = models.BigIntegerField(editable=False, db_index=True)
    message_keys = models.TextField(editable=False, help_text="Keys of queued tasks, each between two commas")

    class Meta:
        verbose_name = "acknowledged messages"
        verbose_name_plural = "acknowledged messages"

    def __str__(self) -> str:
        return f"{self.message_keys.strip(',')}"
