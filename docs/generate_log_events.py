"""Writes the reference page of log events from ``django_cluster/core/events``.

Run ``python -m docs.generate_log_events`` from the root of the repository after changing an event; a unit test fails
while the page is behind.
"""

from __future__ import annotations

import logging
from types import ModuleType

from django_cluster.core.events import FIELDS, MODULES, Event
from docs.generate_settings import REFERENCE, row, table

PAGE = REFERENCE / "log-events.md"
NOTICE = "<!-- Written by docs/generate_log_events.py. Change django_cluster/core/events, and run it again. -->"

HEAD = """\
# Log events

Every log record of this package has an attribute `event`: a key that is never changed, for alerts and searches. The
fields of the event are attributes of the record as well. [Logging](../how-to/logging.md) shows how to write them as
JSON, and what to alert on.

The logger is `django_cluster`; for the ends of tasks it is `django_cluster.tasks`. In the texts below, `%(name)s`
stands for the value of a field.
"""


def log_events_page() -> str:
    """The page of all events."""
    sections = [line for module in MODULES for line in _section(module)]
    fields = [row(f"`{name}`", meaning) for name, meaning in FIELDS.items()]
    return "\n".join([HEAD, NOTICE, "", *sections, "## Fields", "", *table(("field", "value"), fields), ""])


def _section(module: ModuleType) -> list[str]:
    title, _, _ = (module.__doc__ or "").partition(":")
    events = [each for each in vars(module).values() if isinstance(each, Event)]
    head = ("event", "level", "text and fields", "meaning", "what to do")
    return [f"## {title}", "", *table(head, [_row(each) for each in events]), ""]


def _row(event: Event) -> str:
    more = [f"`{name}`" for name in event.fields if f"%({name})" not in event.message]
    text = f"`{event.message}`" + (f"; also {', '.join(more)}" if more else "")
    return row(f"`{event.key}`", logging.getLevelName(event.level), text, event.meaning, event.action)


def write() -> None:
    """Write the page."""
    PAGE.write_text(log_events_page(), encoding="utf-8")


if __name__ == "__main__":
    write()
