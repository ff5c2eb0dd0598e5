"""Rollbar and Sentry, told of failed tasks over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import rollbar
import sentry_sdk

from django_cluster.core.messages import Outcome, OutcomeStatus, TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.settings import DeliverySettings
from django_cluster.lifecycle.error_reporting import ErrorReporters
from tests.error_service import ErrorService, run_error_service

TWO_RUNS = DeliverySettings(max_attempts=2)
SECRET = "a secret that is an argument"


@pytest.fixture
def error_service() -> Iterator[ErrorService]:
    with run_error_service() as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_is_set_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Rollbar's client is one for the process, and so is the client of a project in Sentry."""
    monkeypatch.setattr(rollbar, "_initialized", False)
    settings = {key: dict(value) if isinstance(value, dict) else value for key, value in rollbar.SETTINGS.items()}
    monkeypatch.setattr(rollbar, "SETTINGS", settings)
    before = sentry_sdk.get_global_scope().client
    yield
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(before)


def package(func: str = "shop.tasks.charge", **options: Any) -> TaskPackage:
    header = TaskHeader(id="1" * 32, name="one", func=func, enqueued_at=1.0, options=TaskOptions(**options))
    return TaskPackage(header=header, args=(SECRET,), kwargs={"card": SECRET})


def charge(number: str) -> None:
    raise LookupError("no such card")


def raised() -> LookupError:
    try:
        charge(SECRET)
    except LookupError as error:
        return error
    raise AssertionError


def sentry(error_service: ErrorService, **options: Any) -> ErrorReporters:
    reporters = {"sentry": {"dsn": error_service.dsn, **options}}
    return ErrorReporters(reporters, queue="shop", worker="worker 1", delivery=TWO_RUNS)


def rollbars(error_service: ErrorService, **options: Any) -> ErrorReporters:
    reporters = {"rollbar": {"access_token": "token", "endpoint": error_service.endpoint, **options}}
    return ErrorReporters(reporters, queue="shop", worker="worker 1", delivery=TWO_RUNS)


def lost(**changes: Any) -> Outcome:
    whole: dict[str, Any] = {
        "number": 1,
        "receipt": "r",
        "attempt": 2,
        "id": "2" * 32,
        "name": "two",
        "func": "shop.tasks.charge",
        "options": {"group": "g"},
        "enqueued_at": 1.0,
        "started_at": 1.0,
        "stopped_at": 2.0,
        "status": OutcomeStatus.LOST.value,
        "worker": "worker 9",
        "failure": ("WorkerLost", "The worker was killed by signal 9 (SIGKILL).", "File x.c"),
        **changes,
    }
    return Outcome(**whole)


def test_sentry_hears_which_task_failed_and_how(error_service: ErrorService) -> None:
    sentry(error_service).report(raised(), package(group="g"), attempt=2)

    (event,) = error_service.wait_for_sentry()
    assert event["exception"]["values"][-1]["type"] == "LookupError"
    assert event["exception"]["values"][-1]["value"] == "no such card"
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["function"] == "charge"
    assert event["transaction"] == "shop.tasks.charge"
    task = event["contexts"]["task"]
    assert (task["id"], task["name"], task["group"], task["queue"]) == ("1" * 32, "one", "g", "shop")
    assert (task["attempt"], task["final"], task["worker"]) == (2, True, "worker 1")
    assert event["tags"]["task.queue"] == "shop"


def test_rollbar_hears_which_task_failed_and_how(error_service: ErrorService) -> None:
    rollbars(error_service, environment="staging").report(raised(), package(group="g"), attempt=2)

    (item,) = error_service.wait_for_rollbar()
    assert item["body"]["trace"]["exception"] == {"class": "LookupError", "message": "no such card"}
    assert item["body"]["trace"]["frames"][-1]["method"] == "charge"
    assert (item["context"], item["environment"], item["level"]) == ("shop.tasks.charge", "staging", "error")
    task = item["custom"]["task"]
    assert (task["id"], task["group"], task["queue"], task["attempt"]) == ("1" * 32, "g", "shop", 2)
    assert error_service.tokens == ["token"]


def test_reports_are_grouped_by_function_and_class(error_service: ErrorService) -> None:
    both = ErrorReporters({
        "sentry": {"dsn": error_service.dsn},
        "rollbar": {"access_token": "token", "endpoint": error_service.endpoint},
    })  # fmt: skip
    for func, error in [("a.b", ValueError("1")), ("a.b", ValueError("2")), ("a.b", KeyError()), ("c.d", KeyError())]:
        both.report(error, package(func))
        both.flush()

    events = [event["fingerprint"] for event in error_service.wait_for_sentry(4)]
    items = [item["fingerprint"] for item in error_service.wait_for_rollbar(4)]
    assert events == [["a.b", "ValueError"], ["a.b", "ValueError"], ["a.b", "KeyError"], ["c.d", "KeyError"]]
    assert items[0] == items[1]
    assert len(set(items)) == 3


@pytest.mark.parametrize("service", ["sentry", "rollbar"])
def test_arguments_are_not_sent_unless_somebody_asks_for_them(error_service: ErrorService, service: str) -> None:
    make, received = {"sentry": (sentry, error_service.sentry), "rollbar": (rollbars, error_service.rollbar)}[service]
    quiet = make(error_service)
    quiet.report(raised(), package())
    quiet.flush()

    assert SECRET not in str(received)
    assert len(received) == 1

    rollbar._initialized = False
    frank = make(error_service, arguments=True)
    frank.report(raised(), package())
    frank.flush()

    assert str(received[1]).count(SECRET) >= 3  # two arguments, and the variable of a frame


def test_rollbars_switch_for_variables_is_left_alone_while_we_report(
    error_service: ErrorService, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = rollbars(error_service)
    before = dict(rollbar.SETTINGS["locals"])
    sending, told = threading.Event(), threading.Event()
    send = rollbar.send_payload

    def slow(payload: Any, token: str) -> None:
        """The report of a task is on its way until another thread has made one of its own."""
        if payload["data"].get("framework") == "django_cluster" and not told.is_set():
            assert rollbar.SETTINGS["locals"] == before
            sending.set()
            assert told.wait(20)
        send(payload, token)

    monkeypatch.setattr(rollbar, "send_payload", slow)
    reporting = threading.Thread(target=ours.report, args=(raised(), package()))
    reporting.start()
    assert sending.wait(20)
    theirs = raised()
    rollbar.report_exc_info((type(theirs), theirs, theirs.__traceback__))
    told.set()
    reporting.join(20)
    ours.flush()

    items = {item.get("framework", "theirs"): str(item) for item in error_service.wait_for_rollbar(2)}
    assert SECRET not in items.pop("django_cluster")
    (other,) = items.values()
    assert SECRET in other  # as the project wants it
    assert rollbar.SETTINGS["locals"] == before


@pytest.mark.parametrize("make", [sentry, rollbars])
def test_the_text_of_an_error_is_sent_without_credentials(error_service: ErrorService, make: Any) -> None:
    reporters = make(error_service)
    cause = ValueError("token='hush-1'")
    error = OSError("redis://:hush-2@h refused")
    error.__cause__ = cause

    reporters.report(error, package())
    reporters.report_outcome(lost(failure=("WorkerLost", "password=hush-3", "OSError: secret='hush-4'")))
    reporters.flush()

    received = error_service.wait_for_sentry(2) if make is sentry else error_service.wait_for_rollbar(2)
    assert "hush-" not in str(received)
    assert "refused" in str(received)
    assert "ValueError" in str(received)


@pytest.mark.parametrize("make", [sentry, rollbars])
def test_runs_that_will_be_repeated_can_be_kept_quiet(error_service: ErrorService, make: Any) -> None:
    reporters = make(error_service, only_final=True)

    reporters.report(raised(), package(), attempt=1)
    reporters.report(raised(), package(), attempt=2)
    reporters.flush()

    (task,) = [event["contexts"]["task"] for event in error_service.sentry] or [
        i["custom"]["task"] for i in error_service.rollbar
    ]
    assert (task["attempt"], task["final"]) == (2, True)


def test_a_death_that_no_worker_could_tell_is_told_in_words(error_service: ErrorService) -> None:
    both = ErrorReporters({
        "sentry": {"dsn": error_service.dsn},
        "rollbar": {"access_token": "token", "endpoint": error_service.endpoint},
    }, queue="shop")  # fmt: skip

    both.report_outcome(lost())
    both.flush()

    (event,) = error_service.wait_for_sentry()
    assert event["fingerprint"] == ["shop.tasks.charge", "WorkerLost"]
    assert event["exception"]["values"][0]["value"] == "The worker was killed by signal 9 (SIGKILL)."
    assert event["extra"]["traceback"] == "File x.c"
    (item,) = error_service.wait_for_rollbar()
    assert item["title"].startswith("shop.tasks.charge: WorkerLost: The worker was killed")
    assert item["custom"]["task"]["worker"] == "worker 9"


def test_without_a_dsn_the_client_of_the_project_is_used(error_service: ErrorService) -> None:
    sentry_sdk.init(
        dsn=error_service.dsn, release="shop@1", environment="staging", before_send=mark, default_integrations=False
    )

    ErrorReporters({"sentry": {}}).report(raised(), package())
    sentry_sdk.flush()

    (event,) = error_service.wait_for_sentry()
    assert (event["release"], event["environment"], event["tags"]["marked"]) == ("shop@1", "staging", "yes")
    assert SECRET not in str(event)


def mark(event: Any, hint: Any) -> Any:
    event["tags"]["marked"] = "yes"
    return event


def test_a_dsn_of_its_own_leaves_the_client_of_the_project_alone(error_service: ErrorService) -> None:
    with run_error_service() as project:
        sentry_sdk.init(dsn=project.dsn, default_integrations=False)
        client = sentry_sdk.get_client()

        reporters = sentry(error_service)
        reporters.report(raised(), package())
        reporters.flush()

        assert sentry_sdk.get_client() is client
        sentry_sdk.capture_message("from the project")
        sentry_sdk.flush()
        assert [event["message"] for event in project.wait_for_sentry()] == ["from the project"]
    assert len(error_service.sentry) == 1


def test_what_a_report_says_does_not_stick_to_what_the_project_says_later(error_service: ErrorService) -> None:
    sentry_sdk.init(dsn=error_service.dsn, default_integrations=False)

    ErrorReporters({"sentry": {}}).report(raised(), package())
    sentry_sdk.capture_message("later")
    sentry_sdk.flush()

    _, later = error_service.wait_for_sentry(2)
    assert "task" not in later["contexts"]
    assert "task.func" not in later.get("tags", {})


def test_a_client_of_rollbar_that_the_project_has_set_up_is_used(error_service: ErrorService) -> None:
    rollbar.init("of the project", "production", handler="blocking", endpoint=error_service.endpoint)

    ErrorReporters({"rollbar": {}}).report(raised(), package())

    assert len(error_service.rollbar) == 1
    assert error_service.tokens == ["of the project"]
    assert SECRET not in str(error_service.rollbar)
    assert rollbar.SETTINGS["locals"]["enabled"] is True


@pytest.mark.parametrize(("name", "wanted"), [("sentry", "dsn"), ("rollbar", "access_token")])
def test_a_service_without_an_address_is_said_in_a_sentence(
    name: str, wanted: str, caplog: pytest.LogCaptureFixture
) -> None:
    ErrorReporters({name: {}}).report(raised(), package())

    assert f"needs a '{wanted}'" in caplog.text or f"needs an '{wanted}'" in caplog.text


@pytest.mark.parametrize("make", [sentry, rollbars])
def test_a_service_that_hangs_holds_nobody_up_for_long(error_service: ErrorService, make: Any) -> None:
    error_service.gate.clear()
    reporters = make(error_service)

    reporters.report(raised(), package())
    reporters.flush(0.2)

    assert not error_service.sentry + error_service.rollbar  # here we are, and nobody has answered
    error_service.gate.set()
    reporters.flush()
    assert len(error_service.sentry) + len(error_service.rollbar) == 1


def test_the_lines_of_the_log_about_failed_tasks_make_no_second_report(error_service: ErrorService) -> None:
    from django_cluster.lifecycle.notification import log_failure

    sentry_sdk.init(dsn=error_service.dsn)  # with its logging integration
    reporters = ErrorReporters({"sentry": {}})

    log_failure(lost())
    reporters.report_outcome(lost())
    sentry_sdk.flush()

    assert [event["transaction"] for event in error_service.wait_for_sentry()] == ["shop.tasks.charge"]
