"""The declared schedules of docs/how-to/schedules.md."""

from __future__ import annotations

# example begins
from datetime import datetime, timedelta

from django_cluster.decorators import cron_task, periodic_task, schedulable
from django_cluster.models import Schedule


@cron_task("0 5 * * 1-5", time_zone="Europe/Amsterdam")
def report() -> str:
    """On working days at five."""
    return "reported"


@cron_task(every=timedelta(minutes=15), no_overlap=True, catch_up="once")
def fetch_prices() -> int:
    """Every quarter of an hour, unless the last one is still at it."""
    return 3


@periodic_task(
    schedule_type=Schedule.MONTHLY, next_run=datetime.fromisoformat("2026-01-31 08:00+01:00"), name="invoices"
)
@periodic_task(schedule_type=Schedule.DAILY, args=(True,), q_options={"timeout": 60}, name="reminders")
def send_invoices(reminders_only: bool = False) -> str:
    """Two schedules of one function."""
    return "reminders" if reminders_only else "invoices"


@schedulable
def greet(name: str) -> str:
    """Nothing is scheduled yet; people may choose it in the admin."""
    return f"Hello {name}"


# example ends
