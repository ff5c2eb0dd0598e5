"""Values that travel: frozen, tolerant of other versions, and plain enough for the private lines."""

from __future__ import annotations

import marshal
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.core.messages import (
    DEFAULT_OPTIONS,
    FailureDetails,
    Job,
    Outcome,
    OutcomeStatus,
    TaskHeader,
    TaskOptions,
    TaskPackage,
)

moments = st.floats(min_value=0, max_value=1e11)
texts = st.text(min_size=1, max_size=20)
options = st.builds(
    TaskOptions,
    hook=st.none() | texts,
    group=st.none() | texts,
    save=st.none() | st.booleans(),
    cached=st.none() | st.booleans() | st.integers(2, 9999),
    ack_failure=st.none() | st.booleans(),
    timeout=st.none() | moments | st.just(-1.0),
    max_attempts=st.none() | st.integers(0, 99),
    retry_delay=st.none() | moments,
    priority=st.integers(-100, 100),
    not_before=st.none() | moments,
    queue=st.none() | texts,
)


def package(**changes: object) -> TaskPackage:
    header = TaskHeader(id="1" * 32, name="one", func="app.tasks.one", enqueued_at=1.0)
    return TaskPackage(header=header).with_options(**changes)


@settings(deadline=None)
@given(options)
def test_options_come_back_from_the_wire_as_they_were(given: TaskOptions) -> None:
    assert TaskOptions.from_wire(given.to_wire()) == given


def test_only_options_that_were_given_travel() -> None:
    assert TaskOptions(group="letters", priority=0).to_wire() == {"group": "letters"}


def test_falsy_options_that_differ_from_the_default_travel() -> None:
    wire = TaskOptions(save=False, ack_failure=False, max_attempts=0).to_wire()

    assert wire == {"save": False, "ack_failure": False, "max_attempts": 0}


def test_options_of_a_newer_version_are_ignored() -> None:
    assert TaskOptions.from_wire({"group": "letters", "colour": "green"}) == TaskOptions(group="letters")


def test_no_options_are_the_default_options_themselves() -> None:
    assert TaskOptions.from_wire({}) is DEFAULT_OPTIONS
    assert DEFAULT_OPTIONS.to_wire() == {}


def test_other_options_make_another_package() -> None:
    before = package(group="letters")

    after = before.with_options(group="numbers", timeout=3.0)

    assert before.header.options == TaskOptions(group="letters")
    assert after.header.options == TaskOptions(group="numbers", timeout=3.0)
    assert after.id == before.id


@pytest.mark.parametrize("value", [package(), package().header, TaskOptions()], ids=lambda value: type(value).__name__)
def test_what_travels_cannot_be_changed(value: object) -> None:
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        value.id = "another"  # type: ignore[attr-defined]  # the point of the test


def test_jobs_and_outcomes_pass_a_private_line() -> None:
    job = Job(number=1, body=b"p{}\n", receipt="r", attempt=2)
    failure = FailureDetails("ValueError", "no luck", "Traceback …")
    outcome = Outcome(
        number=1,
        receipt="r",
        attempt=2,
        id="1" * 32,
        name="one",
        func="app.tasks.one",
        options={"group": "letters"},
        enqueued_at=1.0,
        started_at=2.0,
        stopped_at=3.0,
        status=OutcomeStatus.FAILURE.value,
        worker="worker 1",
        failure=failure.plain,
    )

    values: list[Any] = [tuple(job), tuple(outcome)]
    for value in values:
        assert marshal.loads(marshal.dumps(value)) == value
