"""The state of the screen, and the effect of each key: pure functions of a state and a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from django_cluster.dashboard.tables import TableRow


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """An action of an operator, to be confirmed."""

    verb: str
    """``retry``, ``cancel``, ``cancel_running``, ``pause``, ``resume`` or ``restart_worker``."""
    target: tuple[str, ...]
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenState:
    """What the screen shows of a snapshot."""

    tab: int = 0
    mode: str = "list"
    """``list``, ``filter`` (typing), ``help``, ``detail``, ``confirm``."""
    query: str = ""
    selected: str = ""
    """Key of the selected row; empty: the first row."""
    sort: int | None = None
    descending: bool = False
    follow: bool = True
    """Whether the selection keeps its position instead of its row."""
    place: int = 0
    scroll: int = 0
    """First visible line of a detail or the help."""
    pending_action: OperatorAction | None = None
    """The action that waits for a confirmation."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ScreenRequest:
    """A request that a key makes to the refresher or the program."""

    kind: str
    """``quit``, ``refresh``, ``detail`` (of a task) or ``act``."""
    task: str = ""
    action: OperatorAction | None = None


@dataclass(frozen=True, slots=True)
class KeyContext:
    """The context of a key: what is visible, and what is allowed."""

    tabs: int
    rows: Sequence[TableRow] = ()
    """The rows that match the filter, sorted."""
    columns: Sequence[int] = ()
    """Indices of the columns that fit on the screen."""
    page: int = 10
    """Rows that fit on the screen."""
    end: int = 0
    """Largest value of ``scroll`` for a detail or the help."""
    operate: bool = False
    paused: frozenset[str] = frozenset()


KeyResult = tuple[ScreenState, ScreenRequest | None]

UP, DOWN = ("k", "KEY_UP"), ("j", "KEY_DOWN")
MOVES: Mapping[str, Callable[[int, KeyContext], int]] = {
    **dict.fromkeys(UP, lambda place, _: place - 1),
    **dict.fromkeys(DOWN, lambda place, _: place + 1),
    "KEY_PGUP": lambda place, context: place - context.page,
    "KEY_PGDOWN": lambda place, context: place + context.page,
    **dict.fromkeys(("g", "KEY_HOME"), lambda place, _: 0),
    **dict.fromkeys(("G", "KEY_END"), lambda place, context: len(context.rows) - 1),
}
NEXT, PREVIOUS = ("l", "KEY_RIGHT", "KEY_TAB"), ("h", "KEY_LEFT", "KEY_BTAB")


def place_of(state: ScreenState, rows: Sequence[TableRow]) -> int:
    """Index of the selected row."""
    if not rows:
        return 0
    if not state.follow:
        for place, row in enumerate(rows):
            if row.key == state.selected:
                return place
    return min(state.place, len(rows) - 1)


def handle_key(state: ScreenState, key: str, context: KeyContext) -> KeyResult:
    """The state after a key, and a request if there is one."""
    state = replace(state, message="")
    if state.mode == "filter":
        return _type(state, key), None
    if state.mode == "confirm":
        return _confirm(state, key)
    if state.mode in ("detail", "help"):
        return _read(state, key, context)
    return _list(state, key, context)


def _list(state: ScreenState, key: str, context: KeyContext) -> KeyResult:
    if key in ("q", "KEY_F10"):
        return state, ScreenRequest("quit")
    if key == "?" or key == "KEY_F1":
        return replace(state, mode="help", scroll=0), None
    if key in NEXT or key in PREVIOUS:
        return _to_tab(state, (state.tab + (1 if key in NEXT else -1)) % context.tabs), None
    if key.isdecimal() and 0 < int(key) <= context.tabs:
        return _to_tab(state, int(key) - 1), None
    if key in ("/", "KEY_F3", "KEY_F4"):
        return replace(state, mode="filter"), None
    if key == "KEY_ESCAPE":
        return replace(state, query="", place=0), None
    if key == "r" or key == "KEY_F5":
        return state, ScreenRequest("refresh")
    if key in ("s", ">", "<", "S", "KEY_F6"):
        return _sort(state, key, context.columns), None
    if key == "f":
        return _follow(state, context), None
    if key in MOVES:
        return _move(state, MOVES[key], context), None
    return _with_row(state, key, context)


def _to_tab(state: ScreenState, tab: int) -> ScreenState:
    return ScreenState(tab=tab, follow=state.follow)


def _type(state: ScreenState, key: str) -> ScreenState:
    """Edit the filter, which is applied while it is typed."""
    if key == "KEY_ENTER":
        return replace(state, mode="list")
    if key == "KEY_ESCAPE":
        return replace(state, mode="list", query="", place=0)
    if key in ("KEY_BACKSPACE", "KEY_DELETE"):
        return replace(state, query=state.query[:-1], place=0)
    if len(key) == 1 and key.isprintable():
        return replace(state, query=state.query + key, place=0)
    return state


def _confirm(state: ScreenState, key: str) -> KeyResult:
    """Confirm the pending action by ``y``; any other key cancels it."""
    action = state.pending_action
    state = replace(state, mode="list", pending_action=None)
    if key in ("y", "Y") and action is not None:
        return replace(state, message=f"{action.verb.replace('_', ' ')} ..."), ScreenRequest("action", action=action)
    return replace(state, message="Cancelled."), None


def _read(state: ScreenState, key: str, context: KeyContext) -> KeyResult:
    if key in ("q", "KEY_ESCAPE", "KEY_ENTER", "KEY_BACKSPACE", "?"):
        return replace(state, mode="list", scroll=0), None
    if key in ("G", "KEY_END"):
        return replace(state, scroll=context.end), None
    if key in MOVES:
        return replace(state, scroll=max(0, min(MOVES[key](state.scroll, context), context.end))), None
    return state, None


def _sort(state: ScreenState, key: str, columns: Sequence[int]) -> ScreenState:
    """Sort by the next (``s``, ``>``) or previous (``<``) visible column, or reverse the order (``S``)."""
    if not columns:
        return state
    if key == "S":
        hint = "Press s first to choose a column." if state.sort is None else ""
        return replace(state, descending=not state.descending, message=hint)
    step = -1 if key == "<" else 1
    orders: list[int | None] = [None, *columns]
    now = orders.index(state.sort) if state.sort in orders else 0  # the screen may have become narrower
    return replace(state, sort=orders[(now + step) % len(orders)])


def _follow(state: ScreenState, context: KeyContext) -> ScreenState:
    place = place_of(state, context.rows)
    selected = context.rows[place].key if context.rows else ""
    said = "The selection stays with its row." if state.follow else "The newest rows come to the selection."
    return replace(state, follow=not state.follow, place=place, selected=selected, message=said)


def _move(state: ScreenState, step: Callable[[int, KeyContext], int], context: KeyContext) -> ScreenState:
    place = max(0, min(step(place_of(state, context.rows), context), len(context.rows) - 1))
    return replace(state, place=place, selected=context.rows[place].key if context.rows else "")


def _with_row(state: ScreenState, key: str, context: KeyContext) -> KeyResult:
    """Handle a key that concerns the selected row."""
    if not context.rows:
        return state, None
    row = context.rows[place_of(state, context.rows)]
    if key == "KEY_ENTER":
        if row.kind == "task":
            return replace(state, mode="detail", scroll=0), ScreenRequest("detail", task=row.name)
        return replace(state, message="Only finished tasks can be opened."), None
    if key not in ACTIONS:
        return state, None
    if not context.operate:
        return replace(state, message="Start qmonitor with --operate to act."), None
    action = ACTIONS[key](row, context)
    if action is None:
        return replace(state, message=HINTS[key]), None
    return replace(state, mode="confirm", pending_action=action), None


def _retry(row: TableRow, _: KeyContext) -> OperatorAction | None:
    return (
        OperatorAction("retry", (row.name,), f"Retry {row.more.get('about', row.name)}?")
        if row.kind == "task"
        else None
    )


def _cancel(row: TableRow, _: KeyContext) -> OperatorAction | None:
    if row.kind == "worker" and row.more.get("id"):
        return OperatorAction("cancel_running", (row.more["id"],), f"Cancel the task that {row.more['about']} runs?")
    if row.kind != "waiting" or not row.more.get("key"):
        return None
    target = (row.more["queue"], row.more["key"])
    return OperatorAction("cancel", target, f"Cancel {row.more.get('about', 'it')}?")


def _pause(row: TableRow, context: KeyContext) -> OperatorAction | None:
    if row.kind != "queue":
        return None
    if row.name in context.paused:
        return OperatorAction("resume", (row.name,), f"Resume queue {row.name}?")
    return OperatorAction("pause", (row.name,), f"Pause queue {row.name} for every cluster?")


def _restart(row: TableRow, _: KeyContext) -> OperatorAction | None:
    if row.kind != "worker":
        return None
    return OperatorAction(
        "restart_worker", tuple(row.name.split(":")), f"Restart {row.more['about']} after its current task?"
    )


ACTIONS = {"R": _retry, "C": _cancel, "P": _pause, "X": _restart}
HINTS = {
    "R": "Select a finished task to retry it.",
    "C": "Select a queued task, or a worker that runs one, to cancel it.",
    "P": "Select a queue to pause or resume it.",
    "X": "Select a worker to restart it.",
}
