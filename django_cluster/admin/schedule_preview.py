"""The preview of a schedule: the rule in words and the next runs, of a form as it stands now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.admin.widgets import AdminSplitDateTime
from django.forms import SplitDateTimeField

from django_cluster.admin.base import AnyScheduleForm
from django_cluster.admin.formatting import moment_text
from django_cluster.models import Schedule

PREVIEWED_RUNS = 5
"""How many of the next runs are shown."""

TIMING_FIELDS = ("schedule_type", "minutes", "cron", "next_run", "repeats")
"""Fields of the form that say when."""


class TimingForm(AnyScheduleForm):
    """The fields that say when. The function is not among them: a preview imports nothing."""

    class Meta:
        model = Schedule
        fields = (*TIMING_FIELDS, "time_zone", "starts_at", "ends_at")
        field_classes = dict.fromkeys(("next_run", "starts_at", "ends_at"), SplitDateTimeField)
        widgets = dict.fromkeys(("next_run", "starts_at", "ends_at"), AdminSplitDateTime)


def preview_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """``words``, ``runs`` (texts) and ``problem`` of the submitted fields of a form; ``problem`` is empty if there is
    none."""
    form = TimingForm(data)
    if not form.is_valid():
        return {"words": "", "runs": [], "problem": str(next(iter(form.errors.values()))[0])}
    row: Schedule = form.instance
    try:
        if row.next_run is None:
            row.start_at_next_match()
    except (ValueError, ImportError, OverflowError) as error:
        return {"words": "", "runs": [], "problem": str(error)}
    runs = [moment_text(run) for run in row.upcoming(PREVIEWED_RUNS)]
    return {"words": row.describe(), "runs": runs, "problem": ""}
