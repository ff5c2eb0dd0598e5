"""The second verb: whatever a task does, what comes out is an outcome that any process can read."""

from __future__ import annotations

import marshal
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pytest
from django.dispatch import Signal

from django_cluster.core.codec import Codec
from django_cluster.core.messages import Job, Outcome, OutcomeStatus, RetryHint, TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.sealed_rows import result_context
from django_cluster.core.signing import ValueSigner
from django_cluster.errors import Discard, PackageError, Retry, Snooze, TaskTimeout, UnknownFunction
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.executor import Executor
from django_cluster.lifecycle.failure_text import MAX_TEXT_LENGTH
from django_cluster.signals import post_execute_in_worker, pre_execute
from tests.conftest import Clock, make_settings
from tests.fields import fields
from tests.sample.tasks import spin
from tests.sealed import arguments_of

HERE = __name__
SIGNING = make_settings().signing
CODEC = Codec(SIGNING)
SIGNER = ValueSigner(SIGNING.secret)
SHORT = 0.05

SUCCESS, FAILURE, TIMEOUT, REJECTED = (
    OutcomeStatus.SUCCESS,
    OutcomeStatus.FAILURE,
    OutcomeStatus.TIMEOUT,
    OutcomeStatus.REJECTED,
)


# ── tasks of these tests ─────────────────────────────────────────────────────────────────────────


class Unspeakable(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("I will not say")

    __repr__ = __str__


class Departing(Exception):
    """Ends the process of whoever wants to show it."""

    def __str__(self) -> NoReturn:
        raise SystemExit(1)


class Hostile:
    """Ends the process of whoever unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.exit, ("no entry",)


def raise_unspeakable() -> NoReturn:
    raise Unspeakable


def raise_departing() -> NoReturn:
    raise Departing


def raise_stop_iteration() -> NoReturn:
    raise StopIteration


def raise_package_error() -> NoReturn:
    raise PackageError("from inside the task")


def wish_again(delay: float | None = None) -> NoReturn:
    raise Retry(delay, "the service is busy")


def wish_later() -> NoReturn:
    raise Snooze(30, "not before noon")


def wish_no_more() -> NoReturn:
    raise Discard("the order was cancelled")


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1) + 1


def swallow_errors(seconds: float) -> None:
    with suppress(Exception):
        spin(seconds)


def talk(length: int) -> NoReturn:
    raise ValueError("begin" + "x" * length + "end")


not_callable = 5


class Listener:
    """A reporter that keeps what it was told, and whether it was inside the ``except``."""

    heard: ClassVar[list[Any]] = []

    def report(self, error: BaseException, package: TaskPackage) -> None:
        self.heard.append((error, package, sys.exc_info()[1] is error))


class Leaving:
    def report(self, error: BaseException, package: TaskPackage) -> None:
        raise SystemExit("the reporter goes home")


# ── helpers ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(autouse=True)
def _nobody_has_heard_anything() -> None:
    Listener.heard.clear()


@pytest.fixture
def _no_other_alarm() -> Iterator[None]:
    """The limit of the test itself (pytest-timeout) uses the same timer: it waits for these few milliseconds."""
    handler = signal.getsignal(signal.SIGALRM)
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    yield
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, left, interval)


@contextmanager
def listening(to: Signal, receiver: Callable[..., None]) -> Iterator[None]:
    to.connect(receiver)
    try:
        yield
    finally:
        to.disconnect(receiver)


def job(func: str, *args: Any, options: TaskOptions | None = None, **kwargs: Any) -> Job:
    header = TaskHeader(id="0" * 31 + "1", name="a name", func=func, enqueued_at=5.0, options=options or TaskOptions())
    text = CODEC.dumps(TaskPackage(header=header, args=args, kwargs=kwargs))
    return Job(number=7, body=CODEC.verify(text), receipt="r", attempt=2)


def executor(*reporters: str, timeout: float | None = None, clock: Callable[[], float] | None = None) -> Executor:
    used = ErrorReporters({f"{HERE}.{name}": {} for name in reporters})
    more: dict[str, Any] = {"clock": clock} if clock else {}
    return Executor(CODEC, SIGNER, used, timeout=timeout, worker="worker 1", **more)


def run(func: str, *args: Any, options: TaskOptions | None = None, **kwargs: Any) -> Outcome:
    return executor().run(job(func, *args, options=options, **kwargs))


def failure_of(outcome: Outcome) -> tuple[str, str, str]:
    assert outcome.failure is not None
    return outcome.failure


# ── success ──────────────────────────────────────────────────────────────────────────────────────


def test_a_task_that_returns_is_a_success_with_its_result() -> None:
    outcome = run("tests.sample.tasks.echo", 1, "two", x=[3])

    assert outcome.status == SUCCESS
    assert SIGNER.loads(outcome.result, result_context(outcome.id)) == ((1, "two"), {"x": [3]})
    assert arguments_of(outcome, SIGNING.secret) == ((1, "two"), {"x": [3]})
    assert outcome.failure is None


def test_an_outcome_says_whose_it_is(clock: Clock) -> None:
    options = TaskOptions(group="letters", hook="a.b")

    outcome = executor(clock=clock).run(job("tests.sample.tasks.nothing", options=options))

    assert fields(outcome, "number", "receipt", "attempt") == {"number": 7, "receipt": "r", "attempt": 2}
    assert fields(outcome, "id", "name", "func") == {
        "id": "0" * 31 + "1",
        "name": "a name",
        "func": "tests.sample.tasks.nothing",
    }
    assert outcome.options == {"group": "letters", "hook": "a.b"}
    assert fields(outcome, "enqueued_at", "started_at", "stopped_at") == {
        "enqueued_at": 5.0,
        "started_at": clock.now,
        "stopped_at": clock.now,
    }
    assert outcome.worker == "worker 1"


@pytest.mark.parametrize("func", ["nothing", "fail", "fail_badly", "no_such_task", "unpicklable"])
def test_every_outcome_passes_a_private_line(func: str) -> None:
    values: Any = tuple(run(f"tests.sample.tasks.{func}"))

    assert marshal.loads(marshal.dumps(values)) == values


# ── failure ──────────────────────────────────────────────────────────────────────────────────────


def test_a_task_that_raises_is_a_failure_with_its_reason() -> None:
    outcome = run("tests.sample.tasks.fail", "no luck")

    kind, message, traceback = failure_of(outcome)
    assert outcome.status == FAILURE
    assert (kind, message) == ("ValueError", "no luck")
    assert "tests/sample/tasks.py" in traceback
    assert arguments_of(outcome, SIGNING.secret) == (("no luck",), {})
    assert outcome.result is None


@pytest.mark.parametrize(
    "kind", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "MemoryError", "BaseException"]
)
def test_what_except_exception_does_not_catch_is_the_failure_of_the_task(kind: str) -> None:
    outcome = run("tests.sample.tasks.fail_badly", kind)

    assert outcome.status == FAILURE
    assert failure_of(outcome)[0].endswith(kind)


def test_sys_exit_is_the_failure_of_the_task() -> None:
    assert failure_of(run("tests.sample.tasks.exit_politely", 0))[0] == "SystemExit"


def test_stop_iteration_is_the_failure_of_the_task() -> None:
    assert failure_of(run(f"{HERE}.raise_stop_iteration"))[0] == "StopIteration"


def test_endless_recursion_is_the_failure_of_the_task() -> None:
    assert failure_of(run(f"{HERE}.recurse"))[0] == "RecursionError"


def test_a_result_that_cannot_be_pickled_is_the_failure_of_the_task() -> None:
    outcome = run("tests.sample.tasks.unpicklable")

    kind, message, _ = failure_of(outcome)
    assert outcome.status == FAILURE
    assert kind == "django_cluster.errors.NotSerializable"
    assert "this value stays where it is" in message


def test_a_coroutine_is_run_to_its_end_where_no_event_loop_is() -> None:
    outcome = run("tests.sample.tasks.add_later", 1, 2)

    assert outcome.status == SUCCESS
    assert SIGNER.loads(outcome.result, result_context(outcome.id)) == 3


@pytest.mark.parametrize("func", ["raise_unspeakable", "raise_departing"])
def test_an_exception_that_cannot_be_shown_is_still_named(func: str) -> None:
    outcome = run(f"{HERE}.{func}")

    kind, message, _ = failure_of(outcome)
    assert outcome.status == FAILURE
    assert kind.startswith(HERE)
    assert "cannot be shown" in message


def test_arguments_that_end_the_process_are_the_failure_of_the_task() -> None:
    assert failure_of(run("tests.sample.tasks.echo", Hostile()))[0] == "SystemExit"


def test_wrong_arguments_are_the_failure_of_the_task() -> None:
    assert failure_of(run("tests.sample.tasks.add", 1))[0] == "TypeError"


def test_a_package_error_inside_the_task_is_its_own_failure() -> None:
    assert run(f"{HERE}.raise_package_error").status == FAILURE


def test_a_very_long_message_is_cut_in_the_middle() -> None:
    _, message, traceback = failure_of(run(f"{HERE}.talk", 10 * MAX_TEXT_LENGTH))

    assert len(message) < 1.1 * MAX_TEXT_LENGTH
    assert message.startswith("begin")
    assert message.endswith("end")
    assert len(traceback) < 1.1 * MAX_TEXT_LENGTH


# ── wishes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("func", "status", "retry_hint", "delay", "reason"),
    [
        ("wish_again", FAILURE, RetryHint.RETRY, None, "the service is busy"),
        ("wish_later", OutcomeStatus.SNOOZED, RetryHint.SNOOZE, 30.0, "not before noon"),
        ("wish_no_more", OutcomeStatus.DISCARDED, RetryHint.STOP, None, "the order was cancelled"),
    ],
)
def test_a_task_may_say_how_it_wants_to_end(
    func: str, status: OutcomeStatus, retry_hint: RetryHint, delay: float | None, reason: str
) -> None:
    outcome = run(f"{HERE}.{func}")

    assert fields(outcome, "status", "retry_hint", "delay") == {
        "status": status,
        "retry_hint": retry_hint,
        "delay": delay,
    }
    assert failure_of(outcome)[1] == reason


def test_a_wish_is_no_error_to_report() -> None:
    executor("Listener").run(job(f"{HERE}.wish_later"))

    assert Listener.heard == []


@pytest.mark.parametrize(
    ("options", "retry_hint"),
    [
        ({}, RetryHint.NONE),
        ({"retry_on": ("ValueError",)}, RetryHint.NONE),
        ({"retry_on": ("Exception",)}, RetryHint.NONE),
        ({"retry_on": ("OSError", "KeyError")}, RetryHint.STOP),
        ({"no_retry_on": ("ValueError",)}, RetryHint.STOP),
        ({"no_retry_on": ("Exception",)}, RetryHint.STOP),
        ({"no_retry_on": ("OSError",)}, RetryHint.NONE),
        ({"retry_on": ("Exception",), "no_retry_on": ("ValueError",)}, RetryHint.STOP),
    ],
    ids=str,
)
def test_options_say_which_errors_are_worth_another_run(options: dict[str, Any], retry_hint: RetryHint) -> None:
    assert run("tests.sample.tasks.fail", options=TaskOptions(**options)).retry_hint == retry_hint


# ── what can never be run ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("func", "reason"),
    [
        ("tests.sample.tasks.no_such_task", "no_such_task"),
        ("no.such.module.task", "no module"),
        (f"{HERE}.not_callable", "not a function"),
        ("not a path", "not a dotted path"),
    ],
)
def test_a_function_that_cannot_be_found_is_put_aside_with_its_message(func: str, reason: str) -> None:
    given = job(func, 1)

    outcome = executor().run(given)

    assert outcome.status == REJECTED
    assert outcome.func == func
    assert reason in failure_of(outcome)[1]
    assert outcome.payload is not None
    assert CODEC.verify(outcome.payload) == given.body


@pytest.mark.parametrize(
    "line", ["raise RuntimeError('half built')", "import no_such_library", "import sys; sys.exit(3)"]
)
def test_a_module_that_raises_on_import_is_put_aside(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_built_module.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)

    outcome = run("half_built_module.task")

    assert outcome.status == REJECTED
    assert "half_built_module" in failure_of(outcome)[1]


def test_arguments_whose_class_is_gone_are_put_aside() -> None:
    body = job("tests.sample.tasks.echo").body + b"ctests.sample.tasks\nGone\n."

    outcome = executor().run(Job(7, body, "r", 2))

    assert outcome.status == REJECTED
    assert outcome.name == "a name"
    assert "Gone" in failure_of(outcome)[1]


@pytest.mark.parametrize("body", [b"", b"p", b"pnonsense\n", b'p{"v": 99}\n'], ids=repr)
def test_a_verified_body_of_another_format_is_put_aside_without_a_name(body: bytes) -> None:
    outcome = executor().run(Job(7, body, "r", 2))

    assert outcome.status == REJECTED
    assert outcome.receipt == "r"
    assert outcome.name == "unreadable package"
    assert len(outcome.id) == 32


def test_the_same_unreadable_message_is_put_aside_under_one_id() -> None:
    first, second = executor().run(Job(7, b"p", "r", 2)), executor().run(Job(8, b"p", "s", 3))

    assert first.id == second.id


# ── limits ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("own", "cluster", "limit"),
    [(None, None, None), (None, 9.0, 9.0), (3.0, 9.0, 3.0), (30.0, 9.0, 30.0), (-1.0, 9.0, None), (3.0, None, 3.0)],
)
def test_the_limit_of_the_task_comes_before_that_of_the_cluster(
    own: float | None, cluster: float | None, limit: float | None
) -> None:
    header = TaskHeader(id="1", name="n", func="f", enqueued_at=1.0, options=TaskOptions(timeout=own))

    assert executor(timeout=cluster).timeout_of(header) == limit


@pytest.mark.usefixtures("_no_other_alarm")
@pytest.mark.parametrize("func", ["tests.sample.tasks.spin", "tests.sample.tasks.sleep", f"{HERE}.swallow_errors"])
def test_a_task_that_overruns_is_a_timeout(func: str) -> None:
    outcome = executor(timeout=SHORT).run(job(func, 10))

    kind, message, traceback = failure_of(outcome)
    assert outcome.status == TIMEOUT
    assert kind == "django_cluster.errors.TaskTimeout"
    assert "0.05 seconds" in message
    assert func.rpartition(".")[2] in traceback
    assert arguments_of(outcome, SIGNING.secret) == ((10,), {})


@pytest.mark.usefixtures("_no_other_alarm")
def test_the_timer_and_the_handler_are_put_back_after_a_timeout() -> None:
    handler = signal.getsignal(signal.SIGALRM)

    executor(timeout=SHORT).run(job("tests.sample.tasks.spin", 10))

    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.usefixtures("_no_other_alarm")
def test_the_import_of_the_function_is_inside_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text("from tests.sample.tasks import spin\nspin(10)\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert executor(timeout=SHORT).run(job("slow_to_import.task")).status == TIMEOUT


def test_the_watcher_is_told_what_runs_before_it_runs() -> None:
    told: list[tuple[str, float | None]] = []

    def started(header: TaskHeader, limit: float | None) -> None:
        told.append((header.func, limit))

    executor(timeout=60).run(job("tests.sample.tasks.nothing"), started)
    executor().run(job("tests.sample.tasks.nothing"), started)

    assert told == [("tests.sample.tasks.nothing", 60), ("tests.sample.tasks.nothing", None)]


# ── receivers and reporters ──────────────────────────────────────────────────────────────────────


def test_receivers_hear_before_and_after_with_function_and_package() -> None:
    heard: list[Any] = []

    def before(func: Any, task: TaskPackage, **_: Any) -> None:
        heard.append(("before", func.__name__, task.args))

    def after(func: Any, task: TaskPackage, **_: Any) -> None:
        heard.append(("after", func.__name__, task.args))

    with listening(pre_execute, before), listening(post_execute_in_worker, after):
        run("tests.sample.tasks.fail", "no luck")

    assert heard == [("before", "fail", ("no luck",)), ("after", "fail", ("no luck",))]


@pytest.mark.parametrize("where", [pre_execute, post_execute_in_worker], ids=["before", "after"])
def test_a_receiver_that_raises_changes_nothing(where: Signal, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(**_: Any) -> None:
        raise RuntimeError("not today")

    with listening(where, refuse):
        outcome = run("tests.sample.tasks.add", 1, 2)

    assert outcome.status == SUCCESS
    assert SIGNER.loads(outcome.result, result_context(outcome.id)) == 3
    assert "not today" in caplog.text


@pytest.mark.parametrize("where", [pre_execute, post_execute_in_worker], ids=["before", "after"])
def test_a_receiver_that_exits_does_not_end_the_worker(where: Signal) -> None:
    def leave(**_: Any) -> None:
        sys.exit(3)

    with listening(where, leave):
        outcome = run("tests.sample.tasks.add", 1, 2)

    assert outcome.status in (SUCCESS, FAILURE)


def test_reporters_hear_of_a_failure_inside_the_except() -> None:
    executor("Listener").run(job("tests.sample.tasks.fail", "no luck"))

    ((error, package, inside),) = Listener.heard
    assert isinstance(error, ValueError)
    assert package.args == ("no luck",)
    assert inside


@pytest.mark.usefixtures("_no_other_alarm")
def test_reporters_hear_of_a_timeout() -> None:
    executor("Listener", timeout=SHORT).run(job("tests.sample.tasks.spin", 10))

    assert isinstance(Listener.heard[0][0], TaskTimeout)


def test_reporters_hear_nothing_of_a_success() -> None:
    executor("Listener").run(job("tests.sample.tasks.nothing"))

    assert Listener.heard == []


def test_a_reporter_that_exits_does_not_end_the_worker() -> None:
    outcome = executor("Leaving", "Listener").run(job("tests.sample.tasks.fail", "no luck"))

    assert failure_of(outcome)[1] == "no luck"
    assert len(Listener.heard) == 1


def test_a_misspelt_option_is_named_in_the_failure() -> None:
    outcome = executor().run(job("tests.sample.tasks.fail", "no luck", grup="letters"))

    assert outcome.failure is not None
    assert outcome.failure[1] == "fail() got an unexpected keyword argument 'grup' (did you mean the option 'group'?)"


# ── for callers in the same process ──────────────────────────────────────────────────────────────


def test_the_error_itself_is_there_for_a_caller_in_the_same_process() -> None:
    outcome, error = executor().run_with_error(job("tests.sample.tasks.fail", "no luck"))

    assert outcome.status == FAILURE
    assert isinstance(error, ValueError)


def test_so_is_the_reason_of_what_could_not_be_run() -> None:
    _, error = executor().run_with_error(job("no.such.module.task"))

    assert isinstance(error, UnknownFunction)


def test_a_success_has_no_error() -> None:
    assert executor().run_with_error(job("tests.sample.tasks.nothing"))[1] is None


def test_under_json_a_result_that_json_cannot_carry_is_a_failure() -> None:
    codec = Codec(replace(SIGNING, serializer="json"))
    header = TaskHeader(id="1", name="n", func="tests.sample.tasks.unpicklable", enqueued_at=1.0)
    body = codec.verify(codec.dumps(TaskPackage(header=header)))
    json_seal = ValueSigner(SIGNING.secret, serializer="json")

    outcome = Executor(codec, json_seal, ErrorReporters({}), timeout=None, worker="w").run(Job(1, body, "r", 1))

    assert failure_of(outcome)[0].endswith("NotSerializable")


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────


def test_a_result_above_the_limit_is_a_failure_that_no_other_run_repeats() -> None:
    seal = ValueSigner(SIGNING.secret, max_size=1000)
    small = Executor(CODEC, seal, ErrorReporters({}), timeout=None, worker="worker 1")

    outcome = small.run(job("builtins.bytes", 5000, options=TaskOptions(retry_on=("Exception",))))

    kind, message, _ = failure_of(outcome)
    assert fields(outcome, "status", "retry_hint", "result") == {
        "status": FAILURE,
        "retry_hint": RetryHint.STOP,
        "result": None,
    }
    assert kind == "django_cluster.errors.NotSerializable"
    assert "The result has 50" in message
    assert "max_result_size is 1000" in message
