"""History: how many runs ended how in a minute, an hour, or longer, and how long they waited and ran."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Rollup(models.Model):
    """What ended in one interval, in one queue, of one function, in one way.

    The monitor of each cluster writes rows of its own for minutes (``stores.history_writer``); they are merged, also
    across clusters, into rows for longer intervals (``stores.history_compaction``). Independent of the rows of tasks,
    and of how long those are kept.
    """

    MINUTE, HOUR, QUARTER_DAY, DAY = 60, 3600, 21_600, 86_400

    id = models.CharField(max_length=32, primary_key=True, editable=False)
    """A hash of ``cluster``, ``step``, ``start``, ``queue``, ``func``, ``status`` and ``error_kind``."""
    cluster = models.CharField(max_length=36, blank=True, editable=False)
    """The id of the cluster that writes the row; empty for a row that was merged."""
    step = models.IntegerField(editable=False)
    """Seconds of the interval."""
    start = models.BigIntegerField(editable=False)
    """Unix time at which it begins."""
    queue = models.CharField(max_length=100, blank=True, editable=False)
    func = models.CharField(max_length=256, blank=True, editable=False)
    status = models.CharField(max_length=12, editable=False)
    error_kind = models.CharField(max_length=255, blank=True, editable=False)
    runs = models.BigIntegerField(default=0, editable=False)
    retried = models.BigIntegerField(default=0, editable=False)
    """Runs among them that are followed by another run of the same task."""
    waits = models.BigIntegerField(default=0, editable=False)
    """Runs among them whose waiting time counts: the first of each task."""
    wait_seconds = models.FloatField(default=0, editable=False)
    run_seconds = models.FloatField(default=0, editable=False)
    wait_bins = models.TextField(blank=True, editable=False)
    """A histogram, see ``core.histogram``."""
    run_bins = models.TextField(blank=True, editable=False)
    last_error = models.TextField(blank=True, editable=False)
    last_task = models.CharField(max_length=32, blank=True, editable=False)
    last_at = models.FloatField(default=0, editable=False)
    """Unix time of the last failure."""
    counted = models.TextField(blank=True, editable=False)
    """The numbers of the jobs that the last two writes have added, so that the next monitor counts none again."""

    class Meta:
        app_label = "django_cluster"
        verbose_name = _("overview")
        verbose_name_plural = _("overview")
        default_permissions = ("view",)
        indexes = (
            models.Index(fields=["step", "start"], name="django_cluster_rollup_time"),
            models.Index(fields=["func", "start"], name="django_cluster_rollup_func"),
        )

    def __str__(self) -> str:
        return f"{self.runs} × {self.func} ({self.status})"
