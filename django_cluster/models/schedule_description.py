"""The rule of a schedule in words, for people: "every day at 02:30 (Europe/Amsterdam)"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import product
from typing import NamedTuple

from django.utils.dates import MONTHS, WEEKDAYS
from django.utils.formats import date_format
from django.utils.text import get_text_list
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from django_cluster.core.cron import CronExpression
from django_cluster.core.local_time import to_local

MAX_LISTED_TIMES = 6
"""More times of the day than these are said by their fields."""

LABELS = (
    *(gettext_noop("Once"), gettext_noop("Minutes"), gettext_noop("Hourly"), gettext_noop("Daily")),
    *(gettext_noop("Weekly"), gettext_noop("Biweekly"), gettext_noop("Monthly"), gettext_noop("Bimonthly")),
    *(gettext_noop("Quarterly"), gettext_noop("Yearly"), gettext_noop("Cron")),
)
"""The types of schedules, for the catalogues: the core, where they are at home, knows no languages."""


class ScheduleFacts(NamedTuple):
    """What is to be facts of a schedule."""

    code: str
    anchor: datetime
    zone: tzinfo | None
    minutes: int | None = None
    cron: str | None = None
    local: datetime | None = None
    """The local time that is meant by the anchor, if it is known; None = what the clock of the zone shows."""


def describe_rule(facts: ScheduleFacts, label: str) -> str:
    """The rule, in the active language; ``label`` stands for types that we have no words for."""
    words = _WORDS.get(facts.code)
    text = words(facts, facts.local or to_local(facts.anchor, facts.zone)) if words else str(label)
    return f"{text} ({facts.zone})" if facts.zone is not None and facts.code not in ("I", "H") else text


# ── the types that count from an anchor ──────────────────────────────────────────────────────────


def _minutes(facts: ScheduleFacts, _local: datetime) -> str:
    return _every_minutes(facts.minutes or 0)


def _every_minutes(count: int) -> str:
    return ngettext("every minute", "every %(count)d minutes", count) % {"count": count}


def _every_hours(count: int) -> str:
    return ngettext("every hour", "every %(count)d hours", count) % {"count": count}


def _monthly(pattern: str) -> Callable[[ScheduleFacts, datetime], str]:
    def words(_facts: ScheduleFacts, local: datetime) -> str:
        text = pattern % {"day": local.day, "time": _time(local)}
        return text if local.day < 29 else text + _(", or on the last day of a shorter month")

    return words


def _weekly(pattern: str) -> Callable[[ScheduleFacts, datetime], str]:
    return lambda _facts, local: pattern % {"weekday": WEEKDAYS[local.weekday()], "time": _time(local)}


def _yearly(_facts: ScheduleFacts, local: datetime) -> str:
    return _("every year on %(date)s at %(time)s") % {
        "date": date_format(local, "MONTH_DAY_FORMAT"),
        "time": _time(local),
    }


def _once(_facts: ScheduleFacts, local: datetime) -> str:
    return _("once, on %(date)s at %(time)s") % {"date": date_format(local, "DATE_FORMAT"), "time": _time(local)}


def _time(local: datetime) -> str:
    return f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"


# ── cron ─────────────────────────────────────────────────────────────────────────────────────────

CRON_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def _cron(facts: ScheduleFacts, _local: datetime) -> str:
    text = (facts.cron or "").strip()
    fields = CRON_ALIASES.get(text, text).lower().split()
    try:
        CronExpression(text).check()
        minute, hour, day, month, weekday = fields
        return ", ".join(part for part in (_clock(minute, hour), _dates(day, weekday), _months(month)) if part)
    except (ValueError, ImportError):
        return _("whenever %(expression)s comes true") % {"expression": text}


def _clock(minute: str, hour: str) -> str:
    """The times of the day."""
    if minute.isdigit() and all(each.isdigit() for each in hour.split(",")):
        return _("at %(times)s") % {"times": _list(f"{int(each):02}:{int(minute):02}" for each in hour.split(","))}
    if _plain_list(minute) and _plain_list(hour):
        times = [f"{int(h):02}:{int(m):02}" for h, m in product(hour.split(","), minute.split(","))]
        if len(times) <= MAX_LISTED_TIMES:
            return _("at %(times)s") % {"times": _list(times)}
    minutes = _every(minute, _every_minutes)
    if hour in ("*", "*/1"):
        return minutes or _("every hour at minute %(minutes)s") % {"minutes": minute}
    if hours := _every(hour, _every_hours):
        return f"{hours}, {minutes or _('at minute %(minutes)s') % {'minutes': minute}}"
    when = minutes or _("at minute %(minutes)s") % {"minutes": minute}
    return _("%(when)s of the hours %(hours)s") % {"when": when, "hours": hour}


def _dates(day: str, weekday: str) -> str:
    """The days, by cron's rule: where both fields are given, either of them matches."""
    days = "" if day in ("*", "?") else _("on day %(days)s of the month") % {"days": day}
    weekdays = "" if weekday in ("*", "?") else _("on %(weekdays)s") % {"weekdays": _names(weekday, _DAYS, _weekday)}
    return _(" or ").join(part for part in (days, weekdays) if part) or _("every day")


def _months(month: str) -> str:
    return "" if month == "*" else _("in %(months)s") % {"months": _names(month, _MONTHS, _month)}


def _every(text: str, words: Callable[[int], str]) -> str:
    """For ``*`` and ``*/5``; nothing for other fields."""
    star, _slash, step = text.partition("/")
    return words(int(step or 1)) if star == "*" else ""


def _names(text: str, abbreviations: Sequence[str], name_of: Callable[[int], str]) -> str:
    """``mon-fri`` → Monday to Friday; what is not a plain list or range is left as it is."""

    def one(part: str) -> str:
        begin, dash, end = part.partition("-")
        names = [name_of(_number(each, abbreviations)) for each in ((begin, end) if dash else (begin,))]
        return _(" to ").join(names)

    try:
        return _list(one(part) for part in text.split(","))
    except (ValueError, KeyError):
        return text


def _number(text: str, abbreviations: Sequence[str]) -> int:
    if text in abbreviations:
        return abbreviations.index(text) + (abbreviations is _MONTHS)
    return int(text)


def _weekday(number: int) -> str:
    return str(WEEKDAYS[(number - 1) % 7])  # 0 and 7 are Sunday


def _month(number: int) -> str:
    return str(MONTHS[number])


def _plain_list(text: str) -> bool:
    return all(each.isdigit() for each in text.split(","))


def _list(items: Iterable[str]) -> str:
    return get_text_list(list(dict.fromkeys(items)), _("and"))


_WORDS: Mapping[str, Callable[[ScheduleFacts, datetime], str]] = {
    "O": _once,
    "I": _minutes,
    "H": lambda _facts, local: _("every hour at minute %(minute)02d") % {"minute": local.minute},
    "D": lambda _facts, local: _("every day at %(time)s") % {"time": _time(local)},
    "W": lambda facts, local: _weekly(_("every %(weekday)s at %(time)s"))(facts, local),
    "BW": lambda facts, local: _weekly(_("every second %(weekday)s at %(time)s"))(facts, local),
    "M": lambda facts, local: _monthly(_("every month on day %(day)d at %(time)s"))(facts, local),
    "BM": lambda facts, local: _monthly(_("every second month on day %(day)d at %(time)s"))(facts, local),
    "Q": lambda facts, local: _monthly(_("every third month on day %(day)d at %(time)s"))(facts, local),
    "Y": _yearly,
    "C": _cron,
}
