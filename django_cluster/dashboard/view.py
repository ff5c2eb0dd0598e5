"""What somebody wants to see, and what each key makes of that. Pure: a view and a key give another view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from django_cluster.dashboard.tables import Row


@dataclass(frozen=True, slots=True)
class Act:
    """What an operator wants done."""

    verb: str
    """``retry``, ``withdraw``, ``pause``, ``resume`` or ``recycle``."""
    target: tuple[str, ...]
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The state of the screen, apart from what there is to see."""

    tab: int = 0
    mode: str = "list"
    """``list``, ``filter`` (typing), ``help``, ``detail``, ``confirm``."""
    query: str = ""
    selected: str = ""
    """The key of a row; nothing: the first."""
    sort: int | None = None
    descending: bool = False
    follow: bool = True
    """The selection stays at its place on the screen, and not with its row."""
    place: int = 0
    scroll: int = 0
    """Of a detail or the help: the first line."""
    asked: Act | None = None
    """To be confirmed."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What the screen cannot do by itself."""

    kind: str
    """``quit``, ``refresh``, ``detail`` (of a task) or ``act``."""
    task: str = ""
    act: Act | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a key may depend on."""

    tabs: int
    rows: Sequence[Row] = ()
    """Those that match, in their order."""
    columns: Sequence[int] = ()
    """The places of the columns that fit on the screen."""
    page: int = 10
    """Rows that fit on the screen."""
    end: int = 0
    """Of a detail or the help: its first line when the last one is seen."""
    operate: bool = False
    paused: frozenset[str] = frozenset()


Answer = tuple[View, Request | None]

UP, DOWN = ("k", "KEY_UP"), ("j", "KEY_DOWN")
MOVES: Mapping[str, Callable[[int, Surroundings], int]] = {
    **dict.fromkeys(UP, lambda place, _: place - 1),
    **dict.fromkeys(DOWN, lambda place, _: place + 1),
    "KEY_PGUP": lambda place, around: place - around.page,
    "KEY_PGDOWN": lambda place, around: place + around.page,
    **dict.fromkeys(("g", "KEY_HOME"), lambda place, _: 0),
    **dict.fromkeys(("G", "KEY_END"), lambda place, around: len(around.rows) - 1),
}
NEXT, PREVIOUS = ("l", "KEY_RIGHT", "KEY_TAB"), ("h", "KEY_LEFT", "KEY_BTAB")


def place_of(view: View, rows: Sequence[Row]) -> int:
    """Where the selection stands among these rows."""
    if not rows:
        return 0
    if not view.follow:
        for place, row in enumerate(rows):
            if row.key == view.selected:
                return place
    return min(view.place, len(rows) - 1)


def press(view: View, key: str, around: Surroundings) -> Answer:
    """What a key does."""
    view = replace(view, message="")
    if view.mode == "filter":
        return _type(view, key), None
    if view.mode == "confirm":
        return _confirm(view, key)
    if view.mode in ("detail", "help"):
        return _read(view, key, around)
    return _list(view, key, around)


def _list(view: View, key: str, around: Surroundings) -> Answer:
    if key in ("q", "KEY_F10"):
        return view, Request("quit")
    if key == "?" or key == "KEY_F1":
        return replace(view, mode="help", scroll=0), None
    if key in NEXT or key in PREVIOUS:
        return _to_tab(view, (view.tab + (1 if key in NEXT else -1)) % around.tabs), None
    if key.isdecimal() and 0 < int(key) <= around.tabs:
        return _to_tab(view, int(key) - 1), None
    if key in ("/", "KEY_F3", "KEY_F4"):
        return replace(view, mode="filter"), None
    if key == "KEY_ESCAPE":
        return replace(view, query="", place=0), None
    if key == "r" or key == "KEY_F5":
        return view, Request("refresh")
    if key in ("s", ">", "<", "S", "KEY_F6"):
        return _sort(view, key, around.columns), None
    if key == "f":
        return _follow(view, around), None
    if key in MOVES:
        return _move(view, MOVES[key], around), None
    return _with_row(view, key, around)


def _to_tab(view: View, tab: int) -> View:
    return View(tab=tab, follow=view.follow)


def _type(view: View, key: str) -> View:
    """Letters go into the filter, which works while it is being typed."""
    if key == "KEY_ENTER":
        return replace(view, mode="list")
    if key == "KEY_ESCAPE":
        return replace(view, mode="list", query="", place=0)
    if key in ("KEY_BACKSPACE", "KEY_DELETE"):
        return replace(view, query=view.query[:-1], place=0)
    if len(key) == 1 and key.isprintable():
        return replace(view, query=view.query + key, place=0)
    return view


def _confirm(view: View, key: str) -> Answer:
    """Only ``y`` is a yes."""
    act = view.asked
    view = replace(view, mode="list", asked=None)
    if key in ("y", "Y") and act is not None:
        return replace(view, message=f"{act.verb} ..."), Request("act", act=act)
    return replace(view, message="Nothing was done."), None


def _read(view: View, key: str, around: Surroundings) -> Answer:
    if key in ("q", "KEY_ESCAPE", "KEY_ENTER", "KEY_BACKSPACE", "?"):
        return replace(view, mode="list", scroll=0), None
    if key in ("G", "KEY_END"):
        return replace(view, scroll=around.end), None
    if key in MOVES:
        return replace(view, scroll=max(0, min(MOVES[key](view.scroll, around), around.end))), None
    return view, None


def _sort(view: View, key: str, columns: Sequence[int]) -> View:
    """``s`` and ``>``: by the next column that is seen; ``<``: by the one before; ``S``: the other way round."""
    if not columns:
        return view
    if key == "S":
        hint = "Press s first, to choose a column." if view.sort is None else ""
        return replace(view, descending=not view.descending, message=hint)
    step = -1 if key == "<" else 1
    orders: list[int | None] = [None, *columns]
    now = orders.index(view.sort) if view.sort in orders else 0  # the screen may have become narrower
    return replace(view, sort=orders[(now + step) % len(orders)])


def _follow(view: View, around: Surroundings) -> View:
    place = place_of(view, around.rows)
    selected = around.rows[place].key if around.rows else ""
    said = "The selection stays with its row." if view.follow else "The newest rows come to the selection."
    return replace(view, follow=not view.follow, place=place, selected=selected, message=said)


def _move(view: View, step: Callable[[int, Surroundings], int], around: Surroundings) -> View:
    place = max(0, min(step(place_of(view, around.rows), around), len(around.rows) - 1))
    return replace(view, place=place, selected=around.rows[place].key if around.rows else "")


def _with_row(view: View, key: str, around: Surroundings) -> Answer:
    """Keys that are about the selected row."""
    if not around.rows:
        return view, None
    row = around.rows[place_of(view, around.rows)]
    if key == "KEY_ENTER":
        if row.kind == "task":
            return replace(view, mode="detail", scroll=0), Request("detail", task=row.name)
        return replace(view, message="Only tasks that have ended can be opened."), None
    if key not in ACTS:
        return view, None
    if not around.operate:
        return replace(view, message="Start qmonitor with --operate to act."), None
    act = ACTS[key](row, around)
    if act is None:
        return replace(view, message=HINTS[key]), None
    return replace(view, mode="confirm", asked=act), None


def _retry(row: Row, _: Surroundings) -> Act | None:
    return Act("retry", (row.name,), f"Run {row.more.get('about', row.name)} again?") if row.kind == "task" else None


def _withdraw(row: Row, _: Surroundings) -> Act | None:
    if row.kind != "waiting" or not row.more.get("key"):
        return None
    target = (row.more["queue"], row.more["key"])
    return Act("withdraw", target, f"Take {row.more.get('about', 'it')} out of its queue for good?")


def _pause(row: Row, around: Surroundings) -> Act | None:
    if row.kind != "queue":
        return None
    if row.name in around.paused:
        return Act("resume", (row.name,), f"Let clusters take from queue {row.name} again?")
    return Act("pause", (row.name,), f"Pause queue {row.name}, for every cluster?")


def _recycle(row: Row, _: Surroundings) -> Act | None:
    if row.kind != "worker":
        return None
    return Act("recycle", tuple(row.name.split(":")), f"Replace {row.more['about']} after its present task?")


ACTS = {"R": _retry, "W": _withdraw, "P": _pause, "X": _recycle}
HINTS = {
    "R": "Select a task that has ended to retry it.",
    "W": "Select a task that waits to withdraw it.",
    "P": "Select a queue to pause or resume it.",
    "X": "Select a worker to recycle it.",
}
