"""The correlation id of running code: given, inherited, or of a trace; and what a text must be to be one."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from django_cluster.core.correlation import (
    OPENTELEMETRY,
    checked_correlation_id,
    correlate,
    current_correlation_id,
    current_traceparent,
    task_scope,
    trace_id_of,
)
from django_cluster.core.headers import read_header, write_header
from django_cluster.core.messages import TaskHeader, TaskOptions
from django_cluster.core.option_values import build_options
from django_cluster.core.packages import build_packages

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def header(**options: Any) -> TaskHeader:
    return TaskHeader(id="a" * 32, name="n", func="f.g", enqueued_at=1.0, options=TaskOptions(**options))


def sent() -> str | None:
    """The correlation id of a task that is sent here."""
    return build_packages("math.sqrt", [(4,)], {}, build_options({}))[0].header.options.correlation_id


def test_outside_of_everything_a_task_carries_nothing() -> None:
    assert current_correlation_id() is None
    assert sent() is None


def test_a_child_has_the_id_of_its_first_ancestor() -> None:
    with task_scope(header(), 1):
        assert sent() == "a" * 32
    with task_scope(header(correlation_id="order 7"), 1):
        assert sent() == "order 7"
    assert sent() is None


def test_what_is_said_inside_a_task_goes_before_what_it_inherits() -> None:
    with task_scope(header(correlation_id="order 7"), 1), correlate("other") as found:
        assert (found, sent()) == ("other", "other")


def test_the_option_goes_before_everything() -> None:
    with correlate("request 1"):
        package = build_packages("math.sqrt", [(4,)], {}, build_options({"correlation_id": "mine"}))[0]
    assert package.header.options.correlation_id == "mine"


def test_a_traceparent_counts_as_its_trace() -> None:
    assert checked_correlation_id(TRACEPARENT) == TRACE
    assert build_options({"correlation_id": TRACEPARENT}).correlation_id == TRACE
    with correlate(TRACEPARENT):
        assert sent() == TRACE


@pytest.mark.parametrize(
    "text",
    [
        TRACE,
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        TRACEPARENT.upper(),
        "",
    ],
)
def test_what_w3c_forbids_is_no_traceparent(text: str) -> None:
    assert trace_id_of(text) is None


@pytest.mark.parametrize("value", ["", "x" * 101, "two\nlines", "nul\0", "\ud800"])
def test_a_text_that_no_log_could_show_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="option 'correlation_id'"):
        build_options({"correlation_id": value})


def test_a_number_is_no_correlation_id() -> None:
    with pytest.raises(TypeError, match="option 'correlation_id'"):
        build_options({"correlation_id": 7})


def span(trace_id: int, *, valid: bool = True) -> Any:
    context = SimpleNamespace(trace_id=trace_id, is_valid=valid)
    return SimpleNamespace(get_current_span=lambda: SimpleNamespace(get_span_context=lambda: context))


def test_the_span_of_opentelemetry_counts_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, OPENTELEMETRY, span(int(TRACE, 16)))
    assert sent() == TRACE
    with correlate("said"):
        assert sent() == "said"
    monkeypatch.setitem(sys.modules, OPENTELEMETRY, span(0, valid=False))
    assert sent() is None
    monkeypatch.setitem(sys.modules, OPENTELEMETRY, SimpleNamespace())
    assert sent() is None


def test_a_package_without_it_is_as_it_was() -> None:
    """Older code reads it, and it costs no byte."""
    assert b"correlation" not in write_header(header())
    assert read_header(write_header(header(correlation_id="x"))) == header(correlation_id="x")


def carried() -> tuple[str | None, str | None]:
    """The correlation id of a task that is sent here, and its traceparent."""
    options = build_packages("math.sqrt", [(4,)], {}, build_options({"group": "g"}))[0].header.options
    return options.correlation_id, options.traceparent


def test_the_whole_traceparent_travels_with_what_is_sent_and_with_its_children() -> None:
    with correlate(TRACEPARENT):
        assert carried() == (TRACE, TRACEPARENT)
        assert current_traceparent() == TRACEPARENT
    with task_scope(header(correlation_id=TRACE, traceparent=TRACEPARENT), 1):
        assert carried() == (TRACE, TRACEPARENT)
        with correlate("other"):
            assert carried() == ("other", None)
    assert current_traceparent() is None


def test_the_span_that_runs_is_the_parent_of_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(trace_id=int(TRACE, 16), span_id=0xABC, trace_flags=1, is_valid=True)
    module = SimpleNamespace(get_current_span=lambda: SimpleNamespace(get_span_context=lambda: context))
    monkeypatch.setitem(sys.modules, OPENTELEMETRY, module)

    with task_scope(header(correlation_id=TRACE, traceparent=TRACEPARENT), 1):
        assert carried() == (TRACE, f"00-{TRACE}-0000000000000abc-01")
    with task_scope(header(correlation_id="order 7"), 1):
        assert carried() == ("order 7", None)


def test_a_header_keeps_its_traceparent() -> None:
    sent = header(correlation_id=TRACE, traceparent=TRACEPARENT)

    assert read_header(write_header(sent)) == sent
