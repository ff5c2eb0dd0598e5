"""What ``async_task`` makes of a call: whose keyword is whose, and how options travel."""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings
from django.utils import timezone as django_timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.core.call import (
    KEYWORDS,
    ONLY_IN_Q_OPTIONS,
    REFUSED_OPTIONS,
    LocalTime,
    build_options,
    build_packages,
    checked_packages,
    option_hint,
    split_options,
)
from django_cluster.core.messages import DEFAULT_OPTIONS, NO_TIMEOUT, TaskOptions
from django_cluster.errors import UnknownFunction, UnsuitableFunction
from tests.sample import hooks, tasks

names = st.sampled_from(sorted(KEYWORDS | ONLY_IN_Q_OPTIONS)) | st.text(min_size=1, max_size=5)
keywords = st.dictionaries(names.filter(lambda name: name not in ("q_options", "cluster")), st.integers())


# ── whose keyword is it? ─────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(keywords)
def test_without_q_options_every_keyword_has_exactly_one_owner(kwargs: dict[str, Any]) -> None:
    own, options = split_options(kwargs)

    assert own | options == kwargs
    assert not own.keys() & options.keys()
    assert options.keys() <= KEYWORDS


@settings(deadline=None)
@given(keywords)
def test_with_q_options_every_other_keyword_reaches_the_function(kwargs: dict[str, Any]) -> None:
    own, options = split_options({**kwargs, "q_options": {"group": "letters"}})

    assert own == kwargs
    assert options == {"group": "letters"}


@pytest.mark.parametrize("given", [{"cluster": "mail"}, {"queue": "mail"}, {"queue": "mail", "cluster": "mail"}])
def test_cluster_is_another_name_of_the_option_queue(given: dict[str, str]) -> None:
    assert split_options(given) == ({}, {"queue": "mail"})
    assert split_options({"q_options": given}) == ({}, {"queue": "mail"})
    assert build_options(given).queue == "mail"


def test_two_names_of_the_queue_may_not_differ() -> None:
    for both in ({"queue": "mail", "cluster": "books"}, {"q_options": {"queue": "mail", "cluster": "books"}}):
        with pytest.raises(TypeError, match="queue='mail' and cluster='books' mean the same option"):
            split_options(both)


def takes_a_queue(queue: str = "") -> None:
    """A function that has a parameter of this name."""


def test_a_queue_that_may_be_an_argument_of_the_function_is_refused() -> None:
    with pytest.raises(TypeError, match="may be the option or an argument of the function"):
        split_options({"queue": "mail"}, takes_a_queue)
    assert split_options({"queue": "mail", "q_options": {}}, takes_a_queue) == ({"queue": "mail"}, {})
    assert split_options({"q_options": {"queue": "mail"}}, takes_a_queue) == ({}, {"queue": "mail"})
    assert split_options({"cluster": "mail"}, takes_a_queue) == ({}, {"queue": "mail"})


def test_empty_q_options_are_enough_to_keep_the_keywords_of_the_function() -> None:
    assert split_options({"group": "mine", "timeout": 3, "q_options": {}}) == ({"group": "mine", "timeout": 3}, {})


def test_q_options_of_none_are_none() -> None:
    assert split_options({"group": "letters", "x": 1, "q_options": None}) == ({"x": 1}, {"group": "letters"})


@pytest.mark.parametrize("name", sorted(ONLY_IN_Q_OPTIONS))
def test_an_option_that_django_q_did_not_have_stays_with_the_function(name: str) -> None:
    assert split_options({name: 1}) == ({name: 1}, {})


def test_the_dicts_of_the_caller_stay_as_they_were() -> None:
    q_options = {"task_name": "census", "group": "letters"}
    kwargs = {"x": 1, "q_options": q_options}

    own, options = split_options(kwargs)
    build_options(options)
    own["y"] = options["save"] = 2

    assert kwargs == {"x": 1, "q_options": {"task_name": "census", "group": "letters"}}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"grup": "letters"}, "'grup' is not an option (did you mean 'group'?)."),
        ({"queues": "mail"}, "'queues' is not an option (did you mean 'queue'?)."),
        ({"grup": 1, "max_atempts": 2}, "(did you mean 'group'?); 'max_atempts' is not an option (did you mean 'max_"),
        ({"weather": "fine"}, "'weather' is not an option; known are ack_failure, broker, cached, "),
        ("letters", "q_options is a dict of options, not 'letters'."),
        (["letters"], "q_options is a dict of options, not ['letters']."),
    ],
)
def test_an_unknown_option_is_named_with_the_one_that_it_resembles(given: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=re.escape(sentence)):
        split_options({"q_options": given})


def test_what_only_async_iter_sets_is_offered_to_nobody() -> None:
    with pytest.raises(TypeError) as raised:
        split_options({"q_options": {"weather": "fine"}})

    assert "group, hook, max_attempts" in str(raised.value)


@pytest.mark.parametrize(
    ("keyword", "advice"),
    [
        ("grup", " (did you mean the option 'group'?)"),
        ("max_attempts", " (did you mean the option 'max_attempts', which belongs in q_options?)"),
        ("countdown", " (did you mean the option 'delay', which belongs in q_options?)"),
        ("weather", ""),
    ],
)
def test_a_keyword_that_a_function_does_not_take_may_be_an_option(keyword: str, advice: str) -> None:
    message = f"send() got an unexpected keyword argument {keyword!r}"

    assert option_hint(message, {keyword: 1}) == advice
    assert option_hint(message, {"other": 1}) == "", "it comes from a call inside the task"


# ── options ──────────────────────────────────────────────────────────────────────────────────────


def test_no_options_are_the_default_options() -> None:
    assert build_options({}) is DEFAULT_OPTIONS


def test_an_option_of_none_is_as_the_settings_say() -> None:
    assert build_options(dict.fromkeys(KEYWORDS | ONLY_IN_Q_OPTIONS)) == DEFAULT_OPTIONS


@pytest.mark.parametrize(
    ("given", "limit"),
    [(5, 5.0), (0.25, 0.25), (timedelta(minutes=2), 120.0), (-1, NO_TIMEOUT), (0, NO_TIMEOUT), (-1.5, NO_TIMEOUT)],
)
def test_a_timeout_is_any_duration_and_minus_one_is_no_limit(given: float | timedelta, limit: float) -> None:
    assert build_options({"timeout": given}).timeout == limit


@pytest.mark.parametrize("option", ["timeout", "retry_delay", "delay"])
@pytest.mark.parametrize("nonsense", ["5", True, [5], math.nan, math.inf, -math.inf], ids=repr)
def test_a_duration_that_is_none_is_refused_at_the_door(option: str, nonsense: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        build_options({option: nonsense})


@pytest.mark.parametrize("option", ["retry_delay", "delay"])
def test_a_delay_cannot_be_negative(option: str) -> None:
    with pytest.raises(ValueError, match="negative"):
        build_options({option: -1})


def test_a_delay_counts_from_now() -> None:
    before = time.time()

    moment = build_options({"delay": timedelta(hours=1)}).not_before

    assert moment is not None
    assert before + 3600 <= moment <= time.time() + 3600


def test_an_eta_is_the_moment_itself_in_whatever_zone() -> None:
    utc = datetime(2026, 3, 1, 12, tzinfo=UTC)

    assert build_options({"eta": utc}).not_before == utc.timestamp()
    assert build_options({"eta": utc.astimezone(timezone(timedelta(hours=5)))}).not_before == utc.timestamp()


def test_a_hook_may_be_a_function_or_its_path() -> None:
    assert build_options({"hook": hooks.note}).hook == "tests.sample.hooks.note"
    assert build_options({"hook": "app.hooks.tell"}).hook == "app.hooks.tell"


def test_a_hook_that_nobody_could_find_is_refused_at_the_door() -> None:
    with pytest.raises(UnknownFunction):
        build_options({"hook": lambda task: task})


@pytest.mark.parametrize("cached", [True, False, 60])
def test_cached_is_a_choice_or_a_number_of_seconds(cached: bool | int) -> None:
    found = build_options({"cached": cached}).cached

    assert found == cached
    assert type(found) is type(cached)


@pytest.mark.parametrize("priority", [101, -101, 1.5, True, "high"])
def test_a_priority_out_of_range_is_refused(priority: object) -> None:
    with pytest.raises(ValueError, match="-100 to 100"):
        build_options({"priority": priority})


@pytest.mark.parametrize("runs", [-1, True, 1.5, "3"])
def test_max_attempts_that_is_no_number_of_runs_is_refused(runs: object) -> None:
    with pytest.raises(ValueError, match="max_attempts"):
        build_options({"max_attempts": runs})


@pytest.mark.parametrize("option", ["group", "queue"])
def test_a_name_that_no_column_could_hold_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match="100"):
        build_options({option: "x" * 101})


@pytest.mark.parametrize("option", sorted(REFUSED_OPTIONS))
def test_an_option_that_belongs_elsewhere_says_where(option: str) -> None:
    with pytest.raises(TypeError, match=option):
        build_options({option: [("a.b", (1,))]})


@pytest.mark.parametrize("option", sorted(REFUSED_OPTIONS))
def test_an_option_that_belongs_elsewhere_may_be_given_as_not_wanted(option: str) -> None:
    assert build_options({option: None}) == DEFAULT_OPTIONS


# ── packages ─────────────────────────────────────────────────────────────────────────────────────


def test_each_call_is_a_package_of_its_own() -> None:
    packages = build_packages(tasks.add, [(1, 2), (3, 4)], {}, TaskOptions(group="letters"))

    assert [package.args for package in packages] == [(1, 2), (3, 4)]
    assert len({package.id for package in packages}) == 2
    assert {package.header.func for package in packages} == {"tests.sample.tasks.add"}
    assert {package.header.options.group for package in packages} == {"letters"}


def test_a_package_is_called_by_its_own_name_or_by_the_one_given() -> None:
    (own,) = build_packages("app.tasks.go", [()], {}, DEFAULT_OPTIONS)
    (given,) = build_packages("app.tasks.go", [()], {}, DEFAULT_OPTIONS, "census")

    assert own.header.name.count("-") == 3
    assert given.header.name == "census"


def test_a_name_that_no_column_could_hold_is_refused_at_the_door() -> None:
    with pytest.raises(ValueError, match="100 characters"):
        build_packages("app.tasks.go", [()], {}, DEFAULT_OPTIONS, "x" * 101)


def test_a_function_that_nobody_could_find_is_refused_at_the_door() -> None:
    with pytest.raises(UnknownFunction):
        build_packages(lambda: None, [()], {}, DEFAULT_OPTIONS)


# ── arguments that the function does not take ────────────────────────────────────────────────────


def send(number: int, timeout: float = 1) -> None:
    """Has a parameter with the name of an option."""


@pytest.mark.parametrize(
    ("args", "own", "given", "sentence"),
    [
        ((7,), {"queue": "slow"}, {"max_attempts": 1}, "(did you mean the option 'queue', which belongs in q_opt"),
        ((7,), {"countdown": 3}, {}, "(did you mean the option 'delay', which belongs in q_options?)."),
        ((7,), {"weather": "fine"}, {}, "unexpected keyword argument 'weather'."),
        ((), {}, {}, "missing a required argument: 'number'."),
        ((1, 2, 3), {}, {}, "too many positional arguments"),
    ],
)
@pytest.mark.parametrize("func", [send, f"{__name__}.send"], ids=["function", "path"])
def test_arguments_that_the_function_does_not_take_are_refused(
    func: Any, args: tuple[Any, ...], own: dict[str, Any], given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(f"{__name__}.send cannot be called so: ")) as raised:
        checked_packages(func, [args], own, given, build_options(given))

    assert sentence in str(raised.value)


def needs_a_group(group: str) -> None:
    """Is not given one, when the keyword is taken for an option."""


def test_an_option_that_the_function_wanted_is_explained() -> None:
    own, given = split_options({"group": "letters"})

    with pytest.raises(
        TypeError, match=re.escape("'group' was taken for an option of the task: beside q_options={...}")
    ):
        checked_packages(needs_a_group, [()], own, given, build_options(given))


def test_one_call_of_many_that_does_not_fit_is_refused() -> None:
    with pytest.raises(TypeError, match="too many"):
        checked_packages(send, [(1,), (1, 2), (1, 2, 3)], {}, {}, DEFAULT_OPTIONS)


def test_a_hook_that_cannot_be_called_with_a_task_is_refused() -> None:
    with pytest.raises(TypeError, match=r"called with the finished task: .*nothing cannot be called"):
        checked_packages(send, [(1,)], {}, {"hook": tasks.nothing}, DEFAULT_OPTIONS)
    with pytest.raises(UnsuitableFunction, match="async"):
        checked_packages(send, [(1,)], {}, {"hook": tasks.add_later}, DEFAULT_OPTIONS)


# ── values without bounds ────────────────────────────────────────────────────────────────────────

YEARS = 3_155_760_000


@pytest.mark.parametrize("option", ["timeout", "delay", "retry_delay", "cached"])
@pytest.mark.parametrize(
    "value", [timedelta.max, 1e12, 10**400, 10**6000, YEARS + 1, 1e308], ids=lambda v: str(type(v))
)
def test_no_duration_is_longer_than_a_hundred_years(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"The option '{option}': a duration is at most {YEARS} seconds"):
        build_options({option: value})
    build_options({option: YEARS})


@pytest.mark.parametrize("option", ["max_attempts", "priority"])
@pytest.mark.parametrize("value", [2**31, 10**6000, math.nan, math.inf], ids=["2**31", "10**6000", "nan", "inf"])
def test_a_number_without_bounds_is_refused_in_a_sentence(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match="from "):
        build_options({option: value})


@pytest.mark.parametrize(
    ("eta", "words"),
    [
        (datetime(9999, 12, 31, 23, 59), r"beyond the calendar|after the year 9999"),  # noqa: DTZ001
        (datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12))), "after the year 9999"),
        (1e12, "beyond the calendar"),
        (10**6000, "beyond the calendar"),
        (math.nan, "beyond the calendar"),
        (math.inf, "beyond the calendar"),
    ],
    ids=["max", "max west", "1e12", "10**6000", "nan", "inf"],
)
def test_an_eta_beyond_the_calendar_is_refused(eta: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_options({"eta": eta})


@pytest.mark.parametrize("eta", ["tomorrow", True, timedelta(1), [1]])
def test_an_eta_that_is_no_moment_is_refused(eta: Any) -> None:
    with pytest.raises(TypeError, match="The option 'eta': a datetime or a Unix time"):
        build_options({"eta": eta})


# ── naive times ──────────────────────────────────────────────────────────────────────────────────

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


@pytest.fixture
def in_amsterdam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalTime, "zone", staticmethod(lambda: AMSTERDAM))


@pytest.mark.usefixtures("in_amsterdam")
def test_a_naive_eta_is_meant_in_the_zone_of_the_project() -> None:
    naive = datetime(2026, 7, 1, 12)  # noqa: DTZ001

    assert build_options({"eta": naive}).not_before == datetime(2026, 7, 1, 10, tzinfo=UTC).timestamp()


@pytest.mark.usefixtures("in_amsterdam")
@pytest.mark.parametrize(("day", "month", "hour", "word"), [(29, 3, 2, "never"), (25, 10, 2, "twice")])
def test_a_naive_eta_that_the_clock_shows_never_or_twice_is_refused(day: int, month: int, hour: int, word: str) -> None:
    naive = datetime(2026, month, day, hour, 30)  # noqa: DTZ001

    with pytest.raises(ValueError, match=f"shown {word} by the clock of Europe/Amsterdam"):
        build_options({"eta": naive})


@pytest.mark.usefixtures("in_amsterdam")
def test_a_naive_eta_may_say_which_of_two_it_means() -> None:
    naive = datetime(2026, 10, 25, 2, 30, fold=1)  # noqa: DTZ001

    assert build_options({"eta": naive}).not_before == naive.replace(tzinfo=AMSTERDAM).timestamp()


def test_django_says_in_which_zone_a_form_would_read_it() -> None:
    with override_settings(USE_TZ=True), django_timezone.override("Asia/Tokyo"):
        assert str(LocalTime.zone()) == "Asia/Tokyo"
    with override_settings(USE_TZ=False):
        assert LocalTime.zone() is None
