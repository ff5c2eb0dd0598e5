"""Keys: each makes another state of the one before, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from django_cluster.dashboard.layout import Canvas, key_context
from django_cluster.dashboard.panels import TABS
from django_cluster.dashboard.state import ScreenRequest, ScreenState, handle_key
from tests.unit.dashboard.scenes import CLUSTER, SNAPSHOT, scene

OVERVIEW, CLUSTERS, QUEUES, TASKS, FAILURES, SCHEDULES = range(6)


def pressed(*keys: str, operate: bool = False, **start: Any) -> tuple[ScreenState, ScreenRequest | None]:
    """The state after these keys, and what the last of them pending_action for."""
    state, request = ScreenState(**start), None
    for key in keys:
        given = scene(snapshot=SNAPSHOT)
        context = key_context(type(given)(snapshot=SNAPSHOT, state=state, now=given.now), Canvas(operate=operate))
        state, request = handle_key(state, key, context)
    return state, request


@pytest.mark.parametrize(
    ("keys", "tab"),
    [("4", TASKS), ("l", CLUSTERS), ("ll", QUEUES), ("h", SCHEDULES), ("6l", OVERVIEW), ("9", OVERVIEW)],
)
def test_tabs_are_chosen_by_number_or_one_after_another(keys: str, tab: int) -> None:
    assert pressed(*keys)[0].tab == tab


@pytest.mark.parametrize("key", ["KEY_TAB", "KEY_RIGHT"])
def test_tab_and_arrow_go_to_the_next_tab(key: str) -> None:
    assert pressed(key)[0].tab == 1
    assert pressed(*[key] * len(TABS))[0].tab == 0


def test_the_selection_moves_and_stays_inside() -> None:
    assert pressed("j", "j", tab=TASKS)[0].place == 2
    assert pressed("k", tab=TASKS)[0].place == 0
    assert pressed("G", "j", tab=TASKS)[0].place == 7
    assert pressed("KEY_PGDOWN", tab=TASKS)[0].place == 7
    assert pressed("G", "g", tab=TASKS)[0].place == 0


def test_a_filter_is_typed_kept_and_forgotten() -> None:
    typed, _ = pressed("/", *"qa", "KEY_BACKSPACE", *"x", tab=TASKS)
    assert (typed.mode, typed.query) == ("filter", "qx")  # q does not quit here
    assert pressed("/", *"mail", "KEY_ENTER", tab=TASKS)[0].query == "mail"
    assert pressed("/", *"mail", "KEY_ENTER", "KEY_ESCAPE", tab=TASKS)[0].query == ""
    assert pressed("/", *"mail", "KEY_ESCAPE", tab=TASKS)[0] == ScreenState(tab=TASKS)


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("mail", 2), ("shop.mail no route", 2), ("status:dead", 1), ("group:film", 1), ("func:*.add", 4),
        ("func:add", 4), ("nothing", 0), ("name:task-1", 1), ("where:b", 0), (":", 3), ("STATE:LEASED", 1), ("[", 8),
    ],
)  # fmt: skip
def test_a_filter_finds_words_and_columns(query: str, rows: int) -> None:
    context = key_context(scene(tab=TASKS, query=query), Canvas())

    assert len(context.rows) == rows


def test_rows_are_sorted_by_any_column_and_back() -> None:
    def names(**state: Any) -> list[str]:
        return [row.cells[3] for row in key_context(scene(tab=TASKS, **state), Canvas()).rows]

    ages = [row.order[5] for row in key_context(scene(tab=TASKS, sort=5), Canvas()).rows]
    assert ages == sorted(ages)
    assert names(sort=3, descending=True) == sorted(names(), reverse=True)
    assert pressed("s", tab=TASKS)[0].sort == 0
    assert pressed("s", "<", tab=TASKS)[0].sort is None
    assert pressed("<", tab=TASKS)[0].sort == 7
    assert pressed("S", tab=TASKS)[0].descending


def test_only_columns_that_are_seen_are_sorted_by() -> None:
    def orders(width: int) -> list[int | None]:
        state, seen = ScreenState(tab=TASKS), []
        for _ in range(9):
            context = key_context(scene(tab=TASKS), Canvas(width=width))
            state, _request = handle_key(state, "s", context)
            seen.append(state.sort)
        return seen

    assert orders(80)[:7] == [0, 2, 3, 4, 5, 7, None]
    assert orders(120)[:9] == [0, 1, 2, 3, 4, 5, 6, 7, None]
    assert pressed("s", tab=TASKS, sort=6)[0].sort == 0  # the screen was wider when this was chosen
    assert "column" in pressed("S", tab=TASKS)[0].message


def test_a_text_is_read_to_its_end_and_no_further() -> None:
    canvas = Canvas(height=16)

    def read(*keys: str) -> int:
        state = ScreenState(mode="help")
        for key in keys:
            given = scene()
            context = key_context(type(given)(snapshot=SNAPSHOT, state=state, now=given.now), canvas)
            state, _ = handle_key(state, key, context)
        return state.scroll

    end = read("G")
    assert end > 0
    assert read("KEY_END") == end
    assert read(*["j"] * 50) == end
    assert read(*["j"] * 50, "k") == end - 1
    assert read("KEY_PGDOWN", "KEY_PGDOWN", "KEY_PGDOWN", "KEY_PGUP") == max(0, end - (canvas.body - 2))
    assert read("G", "g") == 0


def test_a_row_that_is_not_followed_keeps_the_selection() -> None:
    state, _ = pressed("j", "f", tab=FAILURES)

    assert (state.follow, state.selected) == (False, f"task:{'f' * 32}")


def test_enter_asks_for_a_task_that_has_ended() -> None:
    assert pressed("j", "KEY_ENTER", tab=FAILURES)[1] == ScreenRequest("detail", task="f" * 32)
    state, request = pressed("KEY_ENTER", tab=TASKS)
    assert (state.mode, request) == ("list", None)
    assert "finished" in state.message


@pytest.mark.parametrize("key", ["R", "C", "P", "X"])
def test_nothing_can_be_done_without_operate(key: str) -> None:
    for tab in range(1, len(TABS)):
        state, request = pressed(key, tab=tab)
        assert (state.mode, request) == ("list", None)
        assert "--operate" in state.message


@pytest.mark.parametrize(
    ("tab", "keys", "verb", "target"),
    [
        (FAILURES, "R", "retry", ("e" * 32,)),
        (TASKS, "C", "cancel", ("default", "17")),
        (QUEUES, "P", "pause", ("default",)),
        (QUEUES, "jP", "resume", ("mail",)),
        (CLUSTERS, "jjjX", "restart_worker", (CLUSTER.id, "3")),
        (CLUSTERS, "jjjC", "cancel_running", ("a" * 32,)),
    ],
)
def test_an_act_is_done_after_a_yes_and_only_then(tab: int, keys: str, verb: str, target: tuple[str, ...]) -> None:
    pending_action, nothing_yet = pressed(*keys, tab=tab, operate=True)
    assert pending_action.mode == "confirm"
    assert nothing_yet is None

    _, request = pressed(*keys, "y", tab=tab, operate=True)
    refused, no_request = pressed(*keys, "n", tab=tab, operate=True)

    assert request is not None
    assert request.action is not None
    assert (request.action.verb, request.action.target) == (verb, target)
    assert no_request is None
    assert refused.message == "Cancelled."


@pytest.mark.parametrize(
    ("tab", "keys"), [(QUEUES, "R"), (FAILURES, "C"), (TASKS, "P"), (CLUSTERS, "X"), (TASKS, "jjC")]
)
def test_an_act_that_does_not_fit_the_row_is_explained(tab: int, keys: str) -> None:
    state, request = pressed(*keys, tab=tab, operate=True)

    assert (state.mode, request) == ("list", None)
    assert state.message.startswith("Select a")


def test_help_and_details_are_left_by_escape_and_q_does_not_quit_there() -> None:
    assert pressed("?", "q") == (ScreenState(), None)
    assert pressed("?", "j", "j")[0].scroll == 0  # all of it is on the screen
    assert pressed("j", "KEY_ENTER", "KEY_ESCAPE", tab=FAILURES)[0].mode == "list"
    assert pressed("q")[1] == ScreenRequest("quit")
    assert pressed("r")[1] == ScreenRequest("refresh")


def test_keys_that_mean_nothing_change_nothing() -> None:
    for key in ("z", "KEY_F12", "é", "\x00"):
        assert pressed(key, tab=TASKS) == (ScreenState(tab=TASKS), None)
