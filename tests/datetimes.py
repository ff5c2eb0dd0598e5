"""Moments as the project of the tests keeps them: aware, or with ``TEST_USE_TZ=0`` on its one naive clock."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
"""Django's zone in the tests."""

needs_time_zones = pytest.mark.skipif(not settings.USE_TZ, reason="this is about time zones, and TEST_USE_TZ=0")


def kept(moment: datetime) -> datetime:
    """The same moment as this project keeps it."""
    return moment if settings.USE_TZ else moment.astimezone(AMSTERDAM).replace(tzinfo=None)


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    """When clocks in Greenwich show this in winter."""
    return kept(datetime(year, month, day, hour, minute, second, tzinfo=UTC))


def here(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    """When clocks where the project lives show this."""
    return kept(datetime(year, month, day, hour, minute, tzinfo=AMSTERDAM))
