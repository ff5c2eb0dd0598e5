"""Finished tasks as CSV or JSON lines, as many as there are, in little memory.

Arguments and results stay sealed: nothing is unpickled for a list.
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Q, QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from django_cluster.admin.formatting import without_links
from django_cluster.core.redaction import redactor
from django_cluster.core.safe_text import escape_invisible, printable_lines

PORTION = 500
"""Rows in the memory at a time."""

COLUMNS = (
    *("id", "name", "func", "status", "final", "group", "queue", "hook", "worker", "attempt_count"),
    *("enqueued_at", "started_at", "stopped_at", "error_kind", "error_message"),
)
MORE_COLUMNS = (*COLUMNS, "error_traceback", "attempts", "options")

FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001  a spreadsheet takes the wide ones for the others
"""Text that begins so is run as a formula by spreadsheets: an exported error message must not be."""

Row = tuple[Any, ...]


def rows_in_portions(rows: QuerySet[Any], columns: Iterable[str]) -> Iterator[Row]:
    """The newest first. Each portion goes on where the last one ended, so no server or driver holds them all."""
    rows = rows.order_by("-stopped_at", "-pk")
    fields = ("pk", "stopped_at", *columns)
    after = Q()
    while portion := list(rows.filter(after).values_list(*fields)[:PORTION]):
        yield from (row[2:] for row in portion)
        key, moment = portion[-1][:2]
        # The first condition is implied by the second, and is the one that an index understands.
        after = Q(stopped_at__lte=moment) & (Q(stopped_at__lt=moment) | Q(pk__lt=key))


class _Echo:
    """Where a ``csv.writer`` writes: what comes in goes out as the return value."""

    def write(self, line: str) -> str:
        return line


def as_csv(rows: QuerySet[Any]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for row in rows_in_portions(rows, COLUMNS):
        yield writer.writerow([harmless(shown(name, value)) for name, value in zip(COLUMNS, row, strict=True)])


def as_json_lines(rows: QuerySet[Any]) -> Iterator[str]:
    encode = DjangoJSONEncoder(ensure_ascii=False).encode
    for row in rows_in_portions(rows, MORE_COLUMNS):
        kept = {name: shown(name, value) for name, value in zip(MORE_COLUMNS, row, strict=True)}
        yield escape_invisible(encode(kept)) + "\n"


def shown(name: str, value: Any) -> Any:
    """What may quote an argument is exported as pages show it; the packages that follow in a chain are counted."""
    if not value:
        return value
    if name == "error_message":
        return redactor().text(value)
    if name == "error_traceback":
        return redactor().traceback(value)
    if name == "options":
        return redactor().value(without_links(value))
    return [_attempt(each) for each in value] if name == "attempts" and isinstance(value, list) else value


def _attempt(attempt: Any) -> Any:
    """An earlier run, with its own message and traceback."""
    if not isinstance(attempt, dict):
        return attempt
    texts = {"message": redactor().text, "traceback": redactor().traceback}
    return {key: texts[key](str(each)) if key in texts and each else each for key, each in attempt.items()}


def harmless(value: Any) -> Any:
    """A cell that no spreadsheet runs as a formula."""
    if isinstance(value, str):
        value = printable_lines(value)
        return f"'{value}" if value.lstrip().startswith(FORMULA) or value.startswith(FORMULA) else value
    return value.isoformat() if hasattr(value, "isoformat") else value


Writer = Callable[[QuerySet[Any]], Iterator[str]]
FORMS: dict[str, tuple[str, Writer]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "jsonl": ("application/x-ndjson; charset=utf-8", as_json_lines),
}


def download(request: HttpRequest, rows: QuerySet[Any], form: str, name: str) -> StreamingHttpResponse:
    """The file, written while it is sent."""
    content_type, write = FORMS[form]
    lines = _joined(write(rows))
    content = _apart(lines) if isinstance(request, ASGIRequest) else lines
    response = StreamingHttpResponse(content, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return response


def _joined(lines: Iterator[str]) -> Iterator[str]:
    """A portion of lines is one write to the client."""
    while portion := "".join(islice(lines, PORTION)):
        yield portion


async def _apart(lines: Iterator[str]) -> AsyncIterator[str]:
    """Where the server is asynchronous: otherwise Django would first collect everything."""
    following = sync_to_async(lambda: next(lines, None))
    while (portion := await following()) is not None:
        yield portion
