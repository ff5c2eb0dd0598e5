"""Error reporters: found by name or path, told of failures, and never able to break a task."""

from __future__ import annotations

import sys
import threading
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any, ClassVar

import pytest

from django_cluster.core.messages import KILLED_FOR_TIMEOUT, TaskHeader, TaskPackage
from django_cluster.core.settings import QueueSettings
from django_cluster.lifecycle import error_reporting as module
from django_cluster.lifecycle.error_reporting import ErrorReporters, is_unreported
from django_cluster.reporters.base import FailedRun
from django_cluster.testing.outcomes import make_outcome
from tests.conftest import make_settings

PACKAGE = TaskPackage(header=TaskHeader(id="1" * 32, name="one", func="a.b", enqueued_at=1.0))
HERE = __name__


class Listener:
    """Keeps what it was told."""

    heard: ClassVar[list[Any]] = []

    def __init__(self, **options: Any) -> None:
        self.options = options

    def report(self, error: BaseException, package: TaskPackage) -> None:
        self.heard.append((self.options, error, package))


class OldStyle(Listener):
    """Django-Q's plugins look at the exception themselves."""

    def report(self) -> None:  # type: ignore[override]  # the older signature is the point
        self.heard.append(sys.exc_info()[1])


class Raising(Listener):
    error: ClassVar[BaseException] = RuntimeError("the service is away")

    def report(self, error: BaseException, package: TaskPackage) -> None:
        raise self.error


class Leaving(Raising):
    error = SystemExit("the service has sent us home")


class Hanging(Raising):
    def report(self, error: BaseException, package: TaskPackage) -> None:
        threading.Event().wait()


class Unbuildable:
    def __init__(self) -> None:
        raise RuntimeError("no token")


@pytest.fixture(autouse=True)
def _nobody_has_heard_anything() -> None:
    Listener.heard.clear()


def test_a_reporter_gets_its_options_the_error_and_the_package() -> None:
    error = ValueError("no luck")

    ErrorReporters({f"{HERE}.Listener": {"token": "t"}}).report(error, PACKAGE)

    assert Listener.heard == [({"token": "t"}, error, PACKAGE)]


def test_a_reporter_of_django_q_is_called_without_arguments_inside_the_except() -> None:
    error = ValueError("no luck")

    try:
        raise error
    except ValueError:
        ErrorReporters({f"{HERE}.OldStyle": {}}).report(error, PACKAGE)

    assert Listener.heard == [error]


@pytest.mark.parametrize("group", ["django_cluster.error_reporters", "djangoq.errorreporters"])
def test_a_reporter_is_found_by_the_name_of_its_entry_point(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("listener", f"{HERE}:Listener", group)
    monkeypatch.setattr(module, "entry_points", lambda **wanted: EntryPoints([point]).select(**wanted))

    ErrorReporters({"listener": {}}).report(ValueError(), PACKAGE)

    assert len(Listener.heard) == 1


@pytest.mark.parametrize("failing", ["Raising", "Leaving"])
def test_a_reporter_that_fails_is_logged_and_the_others_still_hear(
    failing: str, caplog: pytest.LogCaptureFixture
) -> None:
    ErrorReporters({f"{HERE}.{failing}": {}, f"{HERE}.Listener": {}}).report(ValueError(), PACKAGE)

    assert len(Listener.heard) == 1
    assert failing in caplog.text
    assert "the service" in caplog.text


def test_a_reporter_that_hangs_is_given_up_and_the_others_still_hear(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPORT_TIMEOUT", 0.05)

    ErrorReporters({f"{HERE}.Hanging": {}, f"{HERE}.Listener": {}}).report(ValueError(), PACKAGE)

    assert len(Listener.heard) == 1
    assert "Hanging" in caplog.text


@pytest.mark.parametrize("name", ["nobody", "no.such.module.Reporter", f"{HERE}.Gone", f"{HERE}.Unbuildable"])
def test_a_reporter_that_cannot_be_used_is_named_and_left_out(name: str, caplog: pytest.LogCaptureFixture) -> None:
    ErrorReporters({name: {}, f"{HERE}.Listener": {}}).report(ValueError(), PACKAGE)

    assert len(Listener.heard) == 1
    assert name in caplog.text


def test_a_reporter_that_nobody_has_installed_is_a_sentence_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ErrorReporters({"sentri": {}})

    (record,) = caplog.records
    assert record.exc_info is None
    assert record.getMessage() == (
        "Error reporter 'sentri' cannot be used; its reports are missing:"
        " No installed package offers an error reporter named 'sentri'."
    )


def test_no_reporters_are_no_trouble() -> None:
    ErrorReporters({}).report(ValueError(), PACKAGE)


class Witness(Listener):
    def report_run(self, run: FailedRun) -> None:
        self.heard.append((run.queue, run.final))


def test_the_queue_of_a_task_is_named_and_its_settings_say_which_run_is_the_last() -> None:
    root, mail, books = (make_settings(delivery={"max_attempts": count}) for count in (9, 2, 3))
    shares = [
        QueueSettings(queue=name, weight=1, broker=own.broker, delivery=own.delivery, timeout=None)
        for name, own in (("mail", mail), ("books", books))
    ]
    reporters = ErrorReporters(
        {f"{HERE}.Witness": {}}, queue="mail, books", delivery=root.delivery, queue_settings=shares
    )

    reporters.report(ValueError(), PACKAGE, attempt=2, queue="mail")
    reporters.report(ValueError(), PACKAGE, attempt=2, queue="books")
    reporters.report(ValueError(), PACKAGE, attempt=2)

    assert Listener.heard == [("mail", True), ("books", False), ("mail, books", False)]


@pytest.mark.parametrize(("message", "unreported"), [(KILLED_FOR_TIMEOUT, True), ("The task ran too long.", False)])
def test_a_timeout_that_killed_the_worker_is_told_by_others(message: str, unreported: bool) -> None:
    failure = ("django_cluster.errors.TaskTimeout", f"{message} More.", "")

    assert is_unreported(make_outcome(status="timeout", failure=failure)) is unreported
