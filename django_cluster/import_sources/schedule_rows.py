"""Schedules of other task queues → rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from django_cluster.core.arguments import args_to_text, kwargs_to_text
from django_cluster.importing.options import results_database
from django_cluster.importing.report import NotImportable
from django_cluster.models import Schedule


def new_schedule(
    *,
    name: str,
    func: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    queue: str | None = None,
    cron: str | None = None,
    seconds: float | None = None,
    zone: str | None = None,
    repeats: int = -1,
    next_run: datetime | None = None,
    enabled: bool = True,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    **options: Any,
) -> Schedule:
    """An unsaved row: by ``cron``, every ``seconds``, or once at ``next_run``. ``options``: those of its tasks.

    Raises ``NotImportable`` for what no schedule here can say.
    """
    given = {option: value for option, value in options.items() if value is not None}
    try:
        row = Schedule(
            name=name,
            func=func,
            args=args_to_text(tuple(args)),
            kwargs=kwargs_to_text({**kwargs, **({"q_options": given} if given else {})}),
            queue=queue,
            repeats=repeats,
            enabled=enabled,
            time_zone=zone or "",
            starts_at=_stored(starts_at),
            ends_at=_stored(ends_at),
            **_timing(cron, seconds),
        )
    except (TypeError, ValueError) as error:
        raise NotImportable(f"has arguments that no row can hold: {error}") from error
    if next_run is not None:
        row.next_run = _stored(next_run)
    if row.schedule_type == Schedule.ONCE and repeats < 0:
        row.repeats = 1
    try:
        row.full_clean(validate_unique=False)
    except ValidationError as error:
        raise NotImportable(f"could not be fired: {' '.join(error.messages)}") from error
    return row


def _stored(moment: datetime | None) -> datetime | None:
    """A moment as the columns have it: without ``USE_TZ`` in local time."""
    return moment if moment is None or timezone.is_aware(timezone.now()) else timezone.make_naive(moment)


def _timing(cron: str | None, seconds: float | None) -> dict[str, Any]:
    if cron is not None:
        return {"schedule_type": Schedule.CRON, "cron": cron}
    if seconds is None:
        return {"schedule_type": Schedule.ONCE}
    if seconds <= 0 or seconds % 60:
        raise NotImportable(f"runs every {seconds:g} seconds: schedules here have whole minutes.")
    return {"schedule_type": Schedule.MINUTES, "minutes": int(seconds // 60)}


def save_schedule(row: Schedule) -> bool:
    """Save a new row; False if there is a schedule of this name, which is kept."""
    rows = Schedule.objects.using(results_database())
    if rows.filter(name=row.name).exists():
        return False
    row.save(using=results_database())
    return True
