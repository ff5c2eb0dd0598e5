"""A cron expression: five fields, or a word such as ``@daily``.

croniter only says which local times match. Their instants are calculated here, as Vixie cron does it: an expression
with fixed hours runs once for a time that the clock shows twice, and right after the gap for one that it skips; an
expression for every hour (``*``) follows elapsed time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from django_cluster.core.local_time import first_instant_of, instants_of, repeats_after, to_local

if TYPE_CHECKING:
    from croniter import croniter

ALIASES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
CRONITER_MISSING = "Schedules of the type cron need croniter: pip install 'django-cluster[cron]'."
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class CronExpression:
    """One expression; compared by its text."""

    text: str

    def check(self) -> None:
        """Raise ``ValueError`` with a sentence if this is not an expression that ever comes true."""
        parts = self.text.split()
        if not parts:
            raise ValueError("A schedule of the type cron needs an expression, such as '30 2 * * *'.")
        if len(parts) == 1 and parts[0].startswith("@"):
            if parts[0] not in ALIASES:
                raise ValueError(f"{self.text!r} is not one of the words {', '.join(ALIASES)}.")
        elif len(parts) != 5:
            raise ValueError(
                f"The cron expression {self.text!r} has {len(parts)} fields; five are needed: "
                "minute, hour, day of the month, month, day of the week. There is none for seconds."
            )
        elif any(part[0] in "RrHh" for part in parts):
            raise ValueError(f"The cron expression {self.text!r} asks for a random time; give a fixed one.")
        if flaw := _error_in(self.text):
            raise ValueError(f"The cron expression {self.text!r} is not valid: {flaw}")

    def next_after(self, moment: datetime, tz: tzinfo | None) -> datetime:
        """The first moment later than this one at which the expression comes true."""
        # In UTC: two moments of one zone that the clock shows alike are equal to Python, and would share an answer.
        return _next_after(self, moment if tz is None else moment.astimezone(UTC), tz)

    def calculate_next(self, moment: datetime, tz: tzinfo | None) -> datetime:
        """Calculate ``next_after``, which caches it: many schedules ask the same, and croniter is slow."""
        local = to_local(moment, tz)
        # Just before the clock is set back, times that have passed already are still to come once more.
        begin = local - repeats_after(moment, tz) - _INSTANT if self.every_hour else local
        found: list[datetime] = []
        for match in self._local_matches_after(begin):
            found += [due for due in self._moments(match, tz) if due > moment]
            if found and match > local:
                break
        return min(found)

    @property
    def every_hour(self) -> bool:
        """Whether the field of the hour is ``*``."""
        return self.text == "@hourly" or self.text.split()[1:2] in (["*"], ["*/1"])

    def _moments(self, match: datetime, tz: tzinfo | None) -> tuple[datetime, ...]:
        return instants_of(match, tz) if self.every_hour else (first_instant_of(match, tz),)

    def _local_matches_after(self, local: datetime) -> Iterator[datetime]:
        return local_matches_after(self.text, local)


def local_matches_after(text: str, local: datetime) -> Iterator[datetime]:
    """The local times that match, in order, as croniter finds them."""
    matches = _croniter()(text, local)
    while True:
        yield matches.get_next(datetime)


@lru_cache(maxsize=512)
def _next_after(expression: CronExpression, moment: datetime, tz: tzinfo | None) -> datetime:
    return expression.calculate_next(moment, tz)


@lru_cache(maxsize=512)
def _error_in(text: str) -> str:
    """Ask for one time that matches: 31 February is well-formed, and never comes. Nothing, if there is one."""
    try:
        next(local_matches_after(text, datetime(2000, 1, 1)))  # noqa: DTZ001  a local time
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        # croniter lets slip errors of many kinds for malformed fields.
        return str(error) or type(error).__name__
    return ""


def is_available() -> bool:
    """Whether cron expressions can be understood here: croniter is installed."""
    try:
        _croniter()
    except ImportError:
        return False
    return True


@cache
def _croniter() -> type[croniter]:
    try:
        from croniter import croniter
    except ImportError as error:
        raise ImportError(CRONITER_MISSING) from error
    return croniter
