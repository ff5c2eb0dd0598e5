"""One screenful, drawn from a snapshot and a view: title, tabs, banner, body, footer. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from django_cluster.dashboard import tables
from django_cluster.dashboard.panels import TABS, overview
from django_cluster.dashboard.snapshot import Detail, Snapshot
from django_cluster.dashboard.tables import Row, Table
from django_cluster.dashboard.text import Line, Span, cells, clean, clip, duration, line
from django_cluster.dashboard.view import Surroundings, View, place_of

SMALLEST = (60, 16)
"""Columns and rows below which nothing useful can be shown."""
HEAD, FOOT = 2, 1
"""Lines above and below the body."""

KEYS = (
    ("1 ... 6, Tab, h l, arrows", "choose a tab"),
    ("j k, arrows, PgUp PgDn, g G", "move"),
    ("Enter", "open a task that has ended"),
    ("/", "filter: every word must be found"),
    ("", "status:dead  func:mail.*  group:orders"),
    ("Esc", "leave, or forget the filter"),
    ("s < >", "sort by another column"),
    ("S", "sort the other way round"),
    ("f", "follow the newest, or stay with a row"),
    ("r", "look again now"),
    ("?", "this page"),
    ("q", "quit"),
)
OPERATOR_KEYS = (
    ("R", "retry a task that has ended"),
    ("W", "withdraw a task that waits"),
    ("P", "pause or resume a queue"),
    ("X", "replace a worker after its present task"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """Where it is drawn, and how."""

    width: int = 80
    height: int = 24
    ascii_only: bool = False
    operate: bool = False
    interval: float = 2.0
    """Seconds between two looks."""

    @property
    def body(self) -> int:
        return max(1, self.height - HEAD - FOOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is to be drawn."""

    snapshot: Snapshot
    view: View
    now: float
    """Unix time."""
    detail: Detail | None = None


def frame(scene: Scene, canvas: Canvas) -> list[Line]:
    """Exactly ``canvas.height`` lines, none wider than ``canvas.width``."""
    if canvas.width < SMALLEST[0] or canvas.height < SMALLEST[1]:
        return _filled([line(Span("Too small.", "warn"))], canvas)
    banner = _banner(scene, canvas)
    body = _body(scene, canvas, canvas.body - len(banner))
    drawn = [_title(scene, canvas), _tabs(scene.view), *banner, *body]
    drawn = drawn[: canvas.height - FOOT]
    drawn += [line()] * (canvas.height - FOOT - len(drawn))
    return _filled([*drawn, _footer(scene, canvas)], canvas)


def _filled(drawn: Sequence[Line], canvas: Canvas) -> list[Line]:
    cut = [clip(each, canvas.width) for each in drawn[: canvas.height]]
    return [*cut, *([line()] * (canvas.height - len(cut)))]


def surroundings(scene: Scene, canvas: Canvas) -> Surroundings:
    """What the keys may depend on."""
    table, rows = rows_of(scene, canvas)
    return Surroundings(
        tabs=len(TABS),
        rows=rows,
        columns=tuple(tables.widths(table.columns, canvas.width)) if table else (),
        page=max(1, canvas.body - 2),
        end=max(0, len(_text(scene, canvas)) - (canvas.body - len(_banner(scene, canvas)))),
        operate=canvas.operate,
        paused=frozenset(pause.queue for pause in scene.snapshot.pauses),
    )


def rows_of(scene: Scene, canvas: Canvas) -> tuple[Table | None, list[Row]]:
    """The table of the tab, and those of its rows that are wanted."""
    make, view = TABS[scene.view.tab].table, scene.view
    if make is None:
        return None, []
    table = make(scene.snapshot, canvas.ascii_only)
    return table, tables.chosen(table, view.query, view.sort, descending=view.descending)


# ── the edges ────────────────────────────────────────────────────────────────────────────────────


def _title(scene: Scene, canvas: Canvas) -> Line:
    snapshot = scene.snapshot
    workers = len(list(snapshot.workers()))
    left = f" qmonitor  {snapshot.label}  {_number(len(snapshot.alive), 'cluster')}, {_number(workers, 'worker')}"
    if lost := len(snapshot.clusters) - len(snapshot.alive):
        left += f", {lost} lost"
    clock = time.strftime("%H:%M:%S", time.localtime(scene.now))
    right = f"{'operate  ' if canvas.operate else ''}{clock} "
    gap = max(1, canvas.width - cells(left) - len(right))
    return line(Span(clean(left) + " " * gap + right, "bar"))


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _tabs(view: View) -> Line:
    spans = []
    for number, tab in enumerate(TABS):
        spans.append(Span(f" {number + 1} {tab.title} ", "tab" if number == view.tab else "dim"))
        spans.append(Span(" "))
    return tuple(spans)


def _banner(scene: Scene, canvas: Canvas) -> list[Line]:
    """What cannot be seen, and how old the rest is: told, and never a crash."""
    snapshot = scene.snapshot
    said = [clean(problem) for problem in snapshot.problems[:2]]
    silence = scene.now - snapshot.taken_at
    if snapshot.taken_at and silence > 3 * canvas.interval + 2:
        said.append(f"No answer for {duration(silence)}: what you see is as old as that.")
    return [line(Span(f" {sentence} ".ljust(canvas.width), "alarm")) for sentence in said]


def _footer(scene: Scene, canvas: Canvas) -> Line:
    view = scene.view
    if view.mode == "filter":
        return line(
            Span(f"/{clean(view.query)}", "title"), Span("_", "title"), Span("   Enter: keep  Esc: clear", "dim")
        )
    if view.mode == "confirm" and view.asked is not None:
        return line(Span(f"{clean(view.asked.question)} (y/n) ", "alarm"))
    if view.message:
        return line(Span(clean(view.message), "warn"))
    if view.mode != "list":
        return line(Span("Esc", "key"), Span(" back   "), Span("j k", "key"), Span(" move"))
    hints = [("?", "help"), ("/", "filter"), ("s", "sort")]
    hints += [("R", "retry"), ("W", "withdraw"), ("P", "pause"), ("X", "recycle")] if canvas.operate else []
    hints += [("q", "quit")] if canvas.operate else [("f", "follow"), ("Enter", "open"), ("q", "quit")]
    spans = [Span(part, style) for key, word in hints for part, style in ((key, "key"), (f" {word}  ", "dim"))]
    if view.query:
        spans.append(Span(f"filter: {clean(view.query)}", "warn"))
    return tuple(spans)


# ── the middle ───────────────────────────────────────────────────────────────────────────────────


def _body(scene: Scene, canvas: Canvas, height: int) -> list[Line]:
    view = scene.view
    if text := _text(scene, canvas):
        return _from(text, view.scroll, height)
    if TABS[view.tab].table is None:
        return overview.lines(scene.snapshot, canvas.width, height, ascii_only=canvas.ascii_only)
    return _list(scene, canvas, height)


def _text(scene: Scene, canvas: Canvas) -> list[Line]:
    """What is read in place of a list: the help, or all about a task."""
    if scene.view.mode == "help":
        return help_lines(operate=canvas.operate)
    return detail_lines(scene.detail, canvas.width) if scene.view.mode == "detail" else []


def _from(drawn: Sequence[Line], first: int, height: int) -> list[Line]:
    """A page of it; the last page stays full."""
    first = max(0, min(first, len(drawn) - height))
    return list(drawn[first : first + height])


def _list(scene: Scene, canvas: Canvas, height: int) -> list[Line]:
    table, rows = rows_of(scene, canvas)
    assert table is not None
    view = scene.view
    head = tables.header(table, canvas.width, view.sort, descending=view.descending)
    if not rows:
        said = table.empty if not table.rows else "No row matches the filter; Esc forgets it."
        return [head, line(), line(Span(said, "dim"))]
    room = max(1, height - 1)
    place = place_of(view, rows)
    first = max(0, min(place - room // 2, len(rows) - room))
    return [head, *tables.body(table, rows[first : first + room], canvas.width, rows[place].key)]


def help_lines(*, operate: bool) -> list[Line]:
    keys = [*KEYS, *(OPERATOR_KEYS if operate else ())]
    drawn = [line(Span("Keys", "title")), line()]
    drawn += [line(Span(f"  {key:<28} ", "key"), Span(meaning)) for key, meaning in keys]
    if not operate:
        drawn += [line(), line(Span("  Start qmonitor with --operate to retry, withdraw, pause and recycle.", "dim"))]
    return drawn


def detail_lines(detail: Detail | None, width: int) -> list[Line]:
    """Facts, the traceback, and earlier runs; long lines are broken."""
    if detail is None:
        return [line(Span("Looking ...", "dim"))]
    drawn = [
        line(Span(f"{'' if place else name:<11}", "dim"), Span(part))
        for name, value in detail.facts
        for place, part in enumerate(_broken(value, width - 11))
    ]
    if detail.traceback:
        drawn += [line(), line(Span("Traceback", "title"))]
        drawn += [line(Span(part)) for each in detail.traceback.rstrip().splitlines() for part in _broken(each, width)]
    if detail.attempts:
        drawn += [line(), line(Span("Earlier runs", "title"))]
        drawn += [line(Span(part)) for each in detail.attempts for part in _broken(each, width)]
    return drawn


def _broken(text: str, width: int) -> list[str]:
    text, width = clean(text), max(10, width)
    return [text[start : start + width] for start in range(0, len(text), width)] or [""]
