"""Format values, texts, moments and outcomes for the admin's pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pprint import pformat
from typing import Any

from django.utils import timezone
from django.utils.formats import localize, number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_cluster.core.message_layout import VERSION
from django_cluster.core.messages import OutcomeStatus
from django_cluster.core.redaction import redactor
from django_cluster.core.safe_text import printable_lines
from django_cluster.core.time import from_unix_time
from django_cluster.dashboard.state_labels import StateLabel, about
from django_cluster.errors import PackageError
from django_cluster.models import Task
from django_cluster.schedules.declarations import discover

NOTHING = "-"
MAX_CHARACTERS = 20_000
"""Characters of a value that a page shows."""
WIDTH = 100

STATUS_LABELS = {
    OutcomeStatus.SUCCESS.value: _("success"),
    OutcomeStatus.FAILURE.value: _("failure"),
    OutcomeStatus.TIMEOUT.value: _("timeout"),
    OutcomeStatus.LOST.value: _("lost"),
    OutcomeStatus.REJECTED.value: _("rejected"),
    OutcomeStatus.DEAD.value: _("dead"),
    OutcomeStatus.DISCARDED.value: _("discarded"),
    OutcomeStatus.CANCELLED.value: _("cancelled"),
    OutcomeStatus.EXPIRED.value: _("expired"),
}


def hidden() -> SafeString:
    """The text in place of a value that this user may not see."""
    return format_html('<em class="dc-quiet">{}</em>', gettext("hidden"))


def shown_value(row: object, read: Callable[[], object]) -> SafeString:
    """The value that ``read`` opens, without credentials, if the user may see arguments."""
    return shown(lambda: redactor().value(read())) if may_be_shown(row) else hidden()


def shown_args(row: object, func: str, read: Callable[[], tuple[object, ...]]) -> SafeString:
    """Positional arguments, of which those are hidden whose parameters have the names of credentials."""
    if not may_be_shown(row):
        return hidden()
    discover()  # the names of parameters are known of functions that are imported
    return shown(lambda: redactor().args(func, read()))


def may_be_shown(row: object) -> bool:
    """Whether ``ClusterAdmin.get_object`` has noted that the user may see arguments."""
    return bool(getattr(row, "arguments_visible", False))


def without_links(options: Any) -> Any:
    """Options in which the following tasks of a chain are only counted: their packages hold arguments."""
    if isinstance(options, Mapping) and isinstance(options.get("chain"), (list, tuple)):
        return {**options, "chain": len(options["chain"])}
    return options


def shown_payload(row: object, payload: str | None) -> SafeString:
    """A message as it came. If it is a task, only its size: its arguments cannot be masked one by one."""
    if not payload or may_be_shown(row) is False:
        return hidden() if payload else as_text(None)
    if payload.startswith(VERSION):
        size = gettext("%(count)d characters") % {"count": len(payload)}
        return as_text(f"{payload.partition(':')[0]}:… ({size})")
    return as_text(redactor().text(payload))


def shown(read: Callable[[], object]) -> SafeString:
    """The value that ``read`` opens, as Python would write it, or a sentence about why not."""
    try:
        return as_text(_written(read()))
    except PackageError as error:
        return format_html("<em>{} {}</em>", gettext("This value can no longer be read."), error)
    except Exception as error:  # noqa: BLE001  the project's __repr__ must not break a page
        return format_html("<em>{} {}</em>", gettext("This value cannot be shown:"), type(error).__name__)


def _written(value: object) -> str:
    """The value in Python's notation, on several lines if one would be too long; very long values are not split."""
    line = repr(value)
    return line if len(line) <= WIDTH or len(line) > MAX_CHARACTERS else pformat(value, width=WIDTH, sort_dicts=False)


def as_text(text: str | None) -> SafeString:
    """Text with its line breaks, cut after ``MAX_CHARACTERS``."""
    if not text:
        return SafeString(NOTHING)
    more = ""
    if len(text) > MAX_CHARACTERS:
        more = "\n" + gettext("… and %(count)d characters more") % {"count": len(text) - MAX_CHARACTERS}
    # It scrolls, so it has to be reachable with the keyboard.
    return format_html('<pre class="dc-text" tabindex="0">{}{}</pre>', printable_lines(text[:MAX_CHARACTERS]), more)


def seconds(value: float) -> str:
    """A duration in short form; a whole number of seconds has no decimals."""
    if abs(value) < 60:
        return f"{value} s" if isinstance(value, int) else f"{value:.3f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def local(value: datetime) -> datetime:
    """The moment in the current time zone, if moments have one."""
    value = showable(value)
    return timezone.localtime(value) if timezone.is_aware(value) else value


def showable(value: Any) -> Any:
    """The moment, or its UTC time if the current time zone has no date for it."""
    if not isinstance(value, datetime) or timezone.is_naive(value):
        return value
    try:
        timezone.localtime(value)
    except (OverflowError, ValueError):
        return value.replace(tzinfo=None)
    return value


def moment_text(value: datetime) -> str:
    """A moment in the admin's format."""
    return str(localize(local(value)))


def exact(value: datetime) -> str:
    """A moment with its seconds, in the current time zone."""
    return f"{local(value):%Y-%m-%d %H:%M:%S}"


def number(value: int, *, more: bool = False) -> str:
    """A count with the separators of the current language; with ``more`` a plus follows: ``100,000+``."""
    return number_format(value, force_grouping=True) + ("+" if more else "")


def function_path(path: str) -> SafeString:
    """A dotted path: the last part emphasized, the module before it in grey."""
    module, _dot, name = path.rpartition(".")
    return format_html(
        '<span class="dc-func" title="{}"><strong>{}</strong> <span class="dc-quiet">{}</span></span>',
        path,
        name,
        module,
    )


def truncated(text: str) -> SafeString:
    """A text that a list cuts to its column; the full text is its tooltip."""
    return format_html('<span class="dc-cut" title="{}">{}</span>', text, text)


def ago(value: datetime) -> SafeString:
    """How long ago a moment was, in one unit; the exact second is its tooltip."""
    return _relative(value, gettext("%(time)s ago") % {"time": about((timezone.now() - value).total_seconds())})


def from_now(value: datetime) -> SafeString:
    """In how long a moment will be, or how long ago it was; the exact second is its tooltip."""
    left = (value - timezone.now()).total_seconds()
    return _relative(value, gettext("in %(time)s") % {"time": about(left)}) if left > 0 else ago(value)


def _relative(value: datetime, text: str) -> SafeString:
    return format_html('<time datetime="{}" title="{}">{}</time>', value.isoformat(), exact(value), text)


def clock() -> str:
    """The current time in the current time zone, with seconds."""
    return f"{local(timezone.now()):%H:%M:%S}"


def badge(status: str, text: object = None) -> SafeString:
    """A status as a coloured word."""
    return format_html('<span class="dc-badge dc-{}">{}</span>', status, text or STATUS_LABELS.get(status, status))


def with_zone(value: datetime) -> str:
    """A moment with its seconds and the name of the time zone, if moments have one."""
    return f"{local(value):%Y-%m-%d %H:%M:%S %Z}".rstrip()


def state_badge(state: StateLabel) -> SafeString:
    """A state of a cluster, a queue or a schedule, in the current language."""
    return badge(state.style, gettext(state.text) % state.values)


def status_badges(task: Task) -> SafeString:
    """The status of the last run, and whether a retry is planned or was sent."""
    word = badge(task.status)
    if not task.final:
        return format_html("{} {}", word, badge("again", gettext("retrying")))
    return format_html("{} {}", word, badge("again", gettext("retried"))) if task.retried_as else word


def short_status(task: Task) -> SafeString:
    """One word for a list: *retrying*, or the status of the last run."""
    if not task.final:
        return badge("again", gettext("retrying"))
    word = badge(task.status)
    if not task.retried_as:
        return word
    return format_html('{} <span class="dc-quiet">{}</span>', word, gettext("retried"))


def times(task: Task) -> str:
    """Which run this was, of how many, and how long the task waited and ran."""
    options = task.options if isinstance(task.options, dict) else {}
    most, limit = options.get("max_attempts"), options.get("timeout")
    if most:
        run = gettext("run %(number)s of %(most)s") % {"number": task.attempt_count, "most": most}
    else:
        run = gettext("run %(number)s") % {"number": task.attempt_count}
    ran = seconds(task.run_time)
    if isinstance(limit, (int, float)) and limit:
        ran = gettext("%(ran)s of %(limit)s") % {"ran": ran, "limit": seconds(round(limit))}
    waited = gettext("waited %(time)s") % {"time": seconds(_waited(task))}
    return f"{run} · {waited} · " + gettext("ran %(time)s") % {"time": ran}


# ── what happened to a task, one line for each run ───────────────────────────────────────────────

RUN = '<li><span class="dc-when">{when}</span> {badge} <span class="dc-quiet">{where}</span>{error}{traceback}</li>'


def timeline(task: Task) -> SafeString:
    """From being enqueued, over each run that the row remembers, to its end."""
    waited = gettext("enqueued, and waited %(time)s") % {"time": seconds(_waited(task))}
    first = format_html(
        '<li><span class="dc-when">{}</span> <span class="dc-quiet">{}</span></li>',
        exact(task.enqueued_at),
        waited,
    )
    runs = [_run(attempt) for attempt in (*(task.attempts or ()), _last(task))]
    return format_html('<ol class="dc-timeline">{}{}</ol>', first, format_html_join("", "{}", ((run,) for run in runs)))


def _waited(task: Task) -> float:
    begun = task.attempts[0]["started"] if task.attempts else task.started_at.timestamp()
    return max(0.0, float(begun) - task.enqueued_at.timestamp())


def _last(task: Task) -> Mapping[str, Any]:
    """The last run in the form of the earlier ones, without its traceback."""
    return {
        "number": task.attempt_count,
        "worker": task.worker,
        "started": task.started_at.timestamp(),
        "stopped": task.stopped_at.timestamp(),
        "status": task.status,
        "kind": task.error_kind,
        "message": task.error_message,
    }


def _run(attempt: Mapping[str, Any]) -> SafeString:
    where = gettext("run %(number)s, %(time)s, %(worker)s") % {
        "number": attempt.get("number"),
        "time": seconds(attempt.get("stopped", 0) - attempt.get("started", 0)),
        "worker": attempt.get("worker") or NOTHING,
    }
    kind, message = attempt.get("kind"), redactor().text(str(attempt.get("message") or ""))[:200]
    return format_html(
        RUN,
        when=exact(from_unix_time(attempt.get("started", 0))),
        badge=badge(str(attempt.get("status"))),
        where=where,
        error=format_html(' <span class="dc-error">{}: {}</span>', kind, message) if kind else "",
        traceback=_folded(attempt.get("traceback")),
    )


def _folded(text: str | None) -> SafeString:
    if not text:
        return mark_safe("")
    text = redactor().traceback(str(text))
    return format_html("<details><summary>{}</summary>{}</details>", gettext("traceback"), as_text(text))
