"""The layout of the screen: title, tabs, banner, body, footer. Pure functions of a snapshot and a state."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from django_cluster.dashboard import tables
from django_cluster.dashboard.panels import TABS, overview
from django_cluster.dashboard.snapshot import Detail, Snapshot
from django_cluster.dashboard.state import KeyContext, ScreenState, place_of
from django_cluster.dashboard.tables import Table, TableRow
from django_cluster.dashboard.text import Line, Span, cells, clean, clip, duration, line

MIN_SIZE = (60, 16)
"""Smallest number of columns and lines of a terminal."""
HEADER_LINES, FOOTER_LINES = 2, 1
"""Lines above and below the body."""

KEYS = (
    ("1 ... 6, Tab, h l, arrows", "choose a tab"),
    ("j k, arrows, PgUp PgDn, g G", "move"),
    ("Enter", "open a finished task"),
    ("/", "filter: every word must be found"),
    ("", "status:dead  func:mail.*  group:orders"),
    ("Esc", "back, or clear the filter"),
    ("s < >", "sort by another column"),
    ("S", "reverse the order"),
    ("f", "follow the newest, or keep the row"),
    ("r", "refresh now"),
    ("?", "this help"),
    ("q", "quit"),
)
OPERATOR_KEYS = (
    ("R", "retry a finished task"),
    ("C", "cancel a queued task, or that of a worker"),
    ("P", "pause or resume a queue"),
    ("X", "restart a worker after its current task"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """Size and options of the screen."""

    width: int = 80
    height: int = 24
    ascii_only: bool = False
    operate: bool = False
    interval: float = 2.0
    """Seconds between two refreshes."""

    @property
    def body(self) -> int:
        return max(1, self.height - HEADER_LINES - FOOTER_LINES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The input of ``render``."""

    snapshot: Snapshot
    state: ScreenState
    now: float
    """Unix time."""
    detail: Detail | None = None


def render(scene: Scene, canvas: Canvas) -> list[Line]:
    """The screen as exactly ``canvas.height`` lines of at most ``canvas.width`` columns."""
    if canvas.width < MIN_SIZE[0] or canvas.height < MIN_SIZE[1]:
        return _filled([line(Span("Too small.", "warn"))], canvas)
    banner = _banner(scene, canvas)
    body = _body(scene, canvas, canvas.body - len(banner))
    drawn = [_title(scene, canvas), _tabs(scene.state), *banner, *body]
    drawn = drawn[: canvas.height - FOOTER_LINES]
    drawn += [line()] * (canvas.height - FOOTER_LINES - len(drawn))
    return _filled([*drawn, _footer(scene, canvas)], canvas)


def _filled(drawn: Sequence[Line], canvas: Canvas) -> list[Line]:
    cut = [clip(each, canvas.width) for each in drawn[: canvas.height]]
    return [*cut, *([line()] * (canvas.height - len(cut)))]


def key_context(scene: Scene, canvas: Canvas) -> KeyContext:
    """The context of the next key."""
    table, rows = rows_of(scene, canvas)
    return KeyContext(
        tabs=len(TABS),
        rows=rows,
        columns=tuple(tables.widths(table.columns, canvas.width)) if table else (),
        page=max(1, canvas.body - 2),
        end=max(0, len(_text(scene, canvas)) - (canvas.body - len(_banner(scene, canvas)))),
        operate=canvas.operate,
        paused=frozenset(pause.queue for pause in scene.snapshot.pauses),
    )


def rows_of(scene: Scene, canvas: Canvas) -> tuple[Table | None, list[TableRow]]:
    """The table of the current tab, and its rows after filter and sort."""
    make, state = TABS[scene.state.tab].table, scene.state
    if make is None:
        return None, []
    table = make(scene.snapshot, canvas.ascii_only)
    return table, tables.chosen(table, state.query, state.sort, descending=state.descending)


# ── title, tabs, banner, footer ────────────────────────────────────────────────────────────────────────────────────


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


def _tabs(state: ScreenState) -> Line:
    spans = []
    for number, tab in enumerate(TABS):
        spans.append(Span(f" {number + 1} {tab.title} ", "tab" if number == state.tab else "dim"))
        spans.append(Span(" "))
    return tuple(spans)


def _banner(scene: Scene, canvas: Canvas) -> list[Line]:
    """Problems, and the age of an outdated snapshot."""
    snapshot = scene.snapshot
    said = [clean(problem) for problem in snapshot.problems[:2]]
    silence = scene.now - snapshot.taken_at
    if snapshot.taken_at and silence > 3 * canvas.interval + 2:
        said.append(f"No answer for {duration(silence)}: the data shown is that old.")
    return [line(Span(f" {sentence} ".ljust(canvas.width), "alarm")) for sentence in said]


def _footer(scene: Scene, canvas: Canvas) -> Line:
    state = scene.state
    if state.mode == "filter":
        return line(
            Span(f"/{clean(state.query)}", "title"), Span("_", "title"), Span("   Enter: keep  Esc: clear", "dim")
        )
    if state.mode == "confirm" and state.pending_action is not None:
        return line(Span(f"{clean(state.pending_action.question)} (y/n) ", "alarm"))
    if state.message:
        return line(Span(clean(state.message), "warn"))
    if state.mode != "list":
        return line(Span("Esc", "key"), Span(" back   "), Span("j k", "key"), Span(" move"))
    hints = [("?", "help"), ("/", "filter"), ("s", "sort")]
    hints += [("R", "retry"), ("C", "cancel"), ("P", "pause"), ("X", "restart")] if canvas.operate else []
    hints += [("q", "quit")] if canvas.operate else [("f", "follow"), ("Enter", "open"), ("q", "quit")]
    spans = [Span(part, style) for key, word in hints for part, style in ((key, "key"), (f" {word}  ", "dim"))]
    if state.query:
        spans.append(Span(f"filter: {clean(state.query)}", "warn"))
    return tuple(spans)


# ── body ───────────────────────────────────────────────────────────────────────────────────


def _body(scene: Scene, canvas: Canvas, height: int) -> list[Line]:
    state = scene.state
    if text := _text(scene, canvas):
        return _from(text, state.scroll, height)
    if TABS[state.tab].table is None:
        return overview.lines(scene.snapshot, canvas.width, height, ascii_only=canvas.ascii_only)
    return _list(scene, canvas, height)


def _text(scene: Scene, canvas: Canvas) -> list[Line]:
    """The lines of the help or of a task; empty in other modes."""
    if scene.state.mode == "help":
        return help_lines(operate=canvas.operate)
    return detail_lines(scene.detail, canvas.width) if scene.state.mode == "detail" else []


def _from(drawn: Sequence[Line], first: int, height: int) -> list[Line]:
    """A page of ``height`` lines; the last page is full."""
    first = max(0, min(first, len(drawn) - height))
    return list(drawn[first : first + height])


def _list(scene: Scene, canvas: Canvas, height: int) -> list[Line]:
    table, rows = rows_of(scene, canvas)
    assert table is not None
    state = scene.state
    head = tables.header(table, canvas.width, state.sort, descending=state.descending)
    if not rows:
        said = table.empty if not table.rows else "No row matches the filter; Esc clears it."
        return [head, line(), line(Span(said, "dim"))]
    room = max(1, height - 1)
    place = place_of(state, rows)
    first = max(0, min(place - room // 2, len(rows) - room))
    return [head, *tables.body(table, rows[first : first + room], canvas.width, rows[place].key)]


def help_lines(*, operate: bool) -> list[Line]:
    keys = [*KEYS, *(OPERATOR_KEYS if operate else ())]
    drawn = [line(Span("Keys", "title")), line()]
    drawn += [line(Span(f"  {key:<28} ", "key"), Span(meaning)) for key, meaning in keys]
    if not operate:
        drawn += [line(), line(Span("  Start qmonitor with --operate to retry, cancel, pause and restart.", "dim"))]
    return drawn


def detail_lines(detail: Detail | None, width: int) -> list[Line]:
    """Facts, traceback and earlier runs of a task; long lines are wrapped."""
    if detail is None:
        return [line(Span("Loading ...", "dim"))]
    drawn = [
        line(Span(f"{'' if place else name:<11}", "dim"), Span(part))
        for name, value in detail.facts
        for place, part in enumerate(_broken(value, width - 11))
    ]
    if detail.traceback:
        drawn += [line(), line(Span("Traceback", "title"))]
        drawn += [line(Span(part)) for each in detail.traceback.rstrip().splitlines() for part in _broken(each, width)]
    for title, lines in (
        ("Variables", detail.variables),
        ("Log of the run", detail.log_lines),
        ("Earlier runs", detail.attempts),
    ):
        if lines:
            drawn += [line(), line(Span(title, "title"))]
            drawn += [line(Span(part)) for each in lines for part in _broken(each, width)]
    return drawn


def _broken(text: str, width: int) -> list[str]:
    text, width = clean(text), max(10, width)
    return [text[start : start + width] for start in range(0, len(text), width)] or [""]
