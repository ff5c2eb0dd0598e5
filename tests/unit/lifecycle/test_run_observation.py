"""Failed runs are explained by what was seen of them; nothing else of the process is changed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextvars import Context, copy_context
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.views.decorators.debug import sensitive_variables

from django_cluster.core.post_mortem import HostFacts, PostMortem
from django_cluster.lifecycle.frame_variables import MAX_VALUE, frame_variables
from django_cluster.lifecycle.run_observation import MAX_LINES, RunObserver, count_queries, install_run_log

logger = logging.getLogger("shop.observed")


@pytest.fixture
def observer() -> Iterator[RunObserver]:
    handler = install_run_log()
    before = list(connection.execute_wrappers)
    count_queries()
    yield RunObserver(HostFacts(host="here"))
    connection.execute_wrappers[:] = before
    for each in (logging.getLogger(), *logging.Logger.manager.loggerDict.values()):
        if isinstance(each, logging.Logger) and handler in each.handlers:
            each.removeHandler(handler)


class Unwritable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def error_of(call: Any, *args: Any) -> BaseException:
    try:
        call(*args)
    except Exception as error:  # noqa: BLE001
        return error
    raise AssertionError("it should have failed")


def fail(people: Any) -> None:
    api_token, long, nested, odd = "abc", "x" * 5000, {"password": "abc"}, Unwritable()
    raise ValueError(len(api_token) + len(long) + len(nested) + (odd is None))


@sensitive_variables()
def fail_in_secret(word: str) -> None:
    raise ValueError


@pytest.mark.django_db
def test_variables_are_masked_bounded_and_ask_no_database() -> None:
    people = User.objects.all()

    frames = frame_variables(error_of(fail, [people]))

    assert [frame.function for frame in frames] == ["error_of", "fail"]
    variables = dict(frames[-1].variables)
    assert variables["api_token"] == "********"
    assert "abc" not in variables["nested"]
    assert len(variables["long"]) == MAX_VALUE + 1
    assert variables["odd"] == "(cannot be shown: RuntimeError)"
    assert variables["people"] == "(cannot be shown: QueriesRefused)"
    assert people._result_cache is None
    (last,) = dict(frame_variables(error_of(fail, people))[-1].variables)["people"].splitlines()
    assert last == "<QuerySet of auth.User, not evaluated>"


def test_an_exception_without_frames_of_the_project_has_those_of_its_cause() -> None:
    limit = TimeoutError()
    limit.__cause__ = error_of(fail, [])

    assert frame_variables(limit)[-1].function == "fail"
    assert frame_variables(TimeoutError()) == ()


def test_all_variables_of_a_sensitive_function_are_masked() -> None:
    frames = frame_variables(error_of(fail_in_secret, "hunter2"))

    assert dict(frames[-1].variables) == {"word": "********"}


@pytest.mark.django_db
def test_a_run_is_explained_by_its_own_lines_and_queries(observer: RunObserver) -> None:
    logger.warning("before any run")
    User.objects.count()

    def run(number: int) -> PostMortem:
        observer.begin()
        for _ in range(number):
            User.objects.count()
        for line in range(MAX_LINES * number):
            logger.warning("line %d, password=%s", line, "hunter2")
        return PostMortem.unpacked(observer.explain(ValueError()))

    first, second = copy_context().run(run, 2), copy_context().run(run, 0)

    assert (first.queries, len(first.log_lines), second.queries, second.log_lines) == (2, MAX_LINES, 0, ())
    assert first.log_lines[-1].endswith(f"WARNING shop.observed: line {2 * MAX_LINES - 1}, password=********")
    assert (first.query_seconds or 0) > 0
    assert (first.host, (first.peak_memory_kb or 0) > 0) == ("here", True)


def test_variables_are_left_out_where_they_are_not_wanted() -> None:
    packed = Context().run(RunObserver(HostFacts(), with_variables=False).explain, error_of(fail, []))

    found = PostMortem.unpacked(packed)
    assert (found.frames, found.queries, found.cpu_seconds) == ((), None, None), "no run was begun: unknown is not zero"


@pytest.mark.django_db
def test_a_block_with_a_wrapper_of_its_own_takes_off_its_own(observer: RunObserver) -> None:
    def own(execute: Any, *args: Any) -> Any:
        return execute(*args)

    before = list(connection.execute_wrappers)
    with connection.execute_wrapper(own):
        count_queries()  # as a connection does that is opened here

    assert connection.execute_wrappers == before


def test_a_wrong_log_call_and_a_silent_root_stay_as_they_were(
    observer: RunObserver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [each for each in root.handlers if type(each).__name__ == "RunLogHandler"])
    observer.begin()

    logger.warning("seen without any handler")

    assert capsys.readouterr().err == "seen without any handler\n"
