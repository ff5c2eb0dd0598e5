"""``functions``: asked before anything is imported, wherever a function can be named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_cluster import async_task, control
from django_cluster.brokers.messages import Message
from django_cluster.client.client import get_client
from django_cluster.client.retries import retry
from django_cluster.conf import load_settings
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.decorators import schedulable
from django_cluster.django_q.shim.utils import scheduler
from django_cluster.errors import FunctionNotAllowed
from django_cluster.lifecycle.admission import allowed_functions
from django_cluster.models import QueuedTask, Schedule, Task
from django_cluster.tasks import Chain, Group, async_iter, schedule
from django_cluster.testing.chaos.sandbox import sandbox_settings
from tests.sample import tasks
from tests.security.conftest import Project, Trap, run_all, without_a_limit

pytestmark = pytest.mark.django_db

SAMPLE = ["tests.sample.tasks.*"]


@schedulable
def marked(number: int = 1) -> int:
    return number


HALF_TRUSTED = """
import os, random, sys
from functools import cache, partial, wraps

LIMITS = {}

class Order:
    def method(self): ...
    @classmethod
    def of_class(cls): ...
    @staticmethod
    def static(): ...
    def __call__(self): ...

class Child(Order): ...

def unnamed(func):
    def inside(): ...
    return inside

def named(func):
    @wraps(func)
    def inside(): ...
    return inside

def nothing(): ...

cached, decorated, wrapped = cache(nothing), unnamed(nothing), named(nothing)
ready, callable_object = partial(os.getcwd), Order()
"""


@pytest.fixture
def half_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module of which everything is allowed that it defines."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "half_trusted_tasks.py").write_text(HALF_TRUSTED)
    yield "half_trusted_tasks"
    sys.modules.pop("half_trusted_tasks", None)


def send_by_hand(func: str, **options: Any) -> None:
    """What somebody can send who holds the key, and whom no setting stops."""
    header = TaskHeader(id="a" * 32, name="x", func=func, enqueued_at=timezone.now().timestamp())
    package = TaskPackage(header=header).with_options(**options)
    client = get_client()
    client.broker.enqueue([Message(client.codec.dumps(package))])


@pytest.mark.parametrize("functions", ["registered", SAMPLE])
def test_a_message_that_names_another_function_is_put_aside_unopened(
    project: Project, trap: Trap, functions: Any
) -> None:
    project(functions=functions, max_attempts=0)
    send_by_hand(trap.func)

    (row,) = run_all()

    assert (row.status, row.final, trap.sprung) == ("rejected", True, False)
    assert trap.func in row.error_message
    assert "functions" in row.error_message
    assert not QueuedTask.objects.exists()


def test_a_hook_that_is_not_allowed_is_not_imported(project: Project, trap: Trap) -> None:
    project(functions=SAMPLE)
    send_by_hand("tests.sample.tasks.nothing", hook=trap.func)

    (row,) = run_all()

    assert (row.status, trap.sprung) == ("success", False)


def test_what_is_not_allowed_is_refused_at_each_call(project: Project, trap: Trap) -> None:
    project(functions=SAMPLE)
    calls: list[Any] = [
        lambda: async_task(trap.func),
        lambda: async_task(tasks.nothing, hook=trap.func),
        lambda: async_task(tasks.nothing, chain=[trap.func]),
        lambda: async_task(trap.func, sync=True),
        lambda: Group([tasks.nothing]).on_success(trap.func).run(),
        lambda: Chain([(tasks.nothing,), (trap.func,)]).run(),
        lambda: async_iter(trap.func, [1]),
        lambda: async_iter(tasks.echo, [1], hook=trap.func),
        lambda: schedule(trap.func),
        lambda: schedule(tasks.nothing, hook=trap.func),
        lambda: schedule(tasks.nothing, q_options={"hook": trap.func}),
    ]

    for call in calls:
        with pytest.raises(FunctionNotAllowed, match=r"trap_of_the_tests\.work.*functions"):
            call()

    assert not trap.sprung
    assert not QueuedTask.objects.exists()
    assert not Schedule.objects.exists()


def test_a_schedule_that_is_not_allowed_is_not_sent_and_says_why(project: Project, trap: Trap) -> None:
    row = Schedule.objects.create(func=trap.func, schedule_type="D", next_run=timezone.now())
    project(functions="registered")

    scheduler()
    with pytest.raises(FunctionNotAllowed):
        control.run_now(row)

    row.refresh_from_db()
    assert trap.func in row.last_error
    assert not trap.sprung
    assert not QueuedTask.objects.exists()


def test_the_form_of_a_schedule_refuses_what_is_not_allowed(project: Project, trap: Trap, admin_client: Client) -> None:
    project(functions="registered")
    data = {
        "name": "x", "func": trap.func, "schedule_type": "D", "repeats": "-1", "next_run_0": "2027-01-01",
        "next_run_1": "00:00",
    }  # fmt: skip

    answer = admin_client.post(reverse("admin:django_cluster_schedule_add"), data)

    assert b"may not be run" in answer.content
    assert User.objects.exists()
    assert not Schedule.objects.exists()
    assert not trap.sprung


def test_run_again_is_refused_with_a_sentence(project: Project) -> None:
    async_task(tasks.nothing)
    (row,) = run_all()
    project(functions="registered")

    with pytest.raises(FunctionNotAllowed, match=r"tests\.sample\.tasks\.nothing"):
        retry(row)

    assert Task.objects.get().retried_as is None
    assert not QueuedTask.objects.exists()


def test_what_was_put_aside_can_be_run_again_when_it_is_allowed(project: Project) -> None:
    project(functions="registered")
    send_by_hand("tests.sample.tasks.nothing")
    (row,) = run_all()
    with pytest.raises(FunctionNotAllowed):
        retry(row)

    with without_a_limit(functions=SAMPLE):
        retry(row)
        (again,) = run_all()

    assert (again.pk, again.status) == (row.pk, "success")


def test_registered_tasks_run_and_so_do_those_of_the_package(project: Project) -> None:
    project(functions="registered")

    async_task(marked, 5)
    collected = async_iter(marked, [1, 2])

    assert {row.status for row in run_all()} == {"success"}
    assert Task.objects.get(pk=collected).result == [1, 2]


def test_a_list_may_hold_registered_too(project: Project) -> None:
    project(functions=["registered", *SAMPLE])

    async_task(marked)
    async_task(tasks.nothing)

    assert [row.status for row in run_all()] == ["success", "success"]


@pytest.mark.parametrize(
    "func",
    ["tests.sample.tasks.os.system", "tests.sample.tasks.signal.raise_signal", "tests.sample.tasks.Path.unlink",
     "tests.sample.tasks.NoReturn", "tests.sample.tasks.asyncio.run"],
)  # fmt: skip
def test_a_pattern_names_what_a_module_defines_and_not_what_it_imports(project: Project, func: str) -> None:
    project(functions=SAMPLE)
    send_by_hand(func)

    (row,) = run_all()

    assert row.status == "rejected"


@pytest.mark.parametrize(
    "func",
    ["sys.path.append", "sys.modules.pop", "os.environ._data.clear", "nothing.__globals__.update",
     "nothing.__setattr__", "nothing.__code__.replace", "__builtins__.get", "Order.__setattr__", "Order.__dict__.get",
     "LIMITS.clear", "random.random", "ready.func"],
)  # fmt: skip
def test_a_pattern_names_no_method_of_what_stands_in_a_module(half_trusted: str, func: str) -> None:
    functions = allowed_functions((f"{half_trusted}.*",))

    with pytest.raises(FunctionNotAllowed):
        functions.load(f"{half_trusted}.{func}")


@pytest.mark.parametrize(
    "func", ["nothing", "cached", "ready", "callable_object", "decorated", "Order", "Order.method", "Order.of_class",
             "Child.of_class", "Order.static", "wrapped"],
)  # fmt: skip
def test_a_pattern_names_all_that_a_module_defines(half_trusted: str, func: str) -> None:
    assert callable(allowed_functions((f"{half_trusted}.*",)).load(f"{half_trusted}.{func}"))


def test_methods_of_built_in_classes_have_a_home() -> None:
    functions = allowed_functions(("builtins.*",))

    assert functions.load("builtins.str.upper")("a") == "A"
    assert functions.load("sum")([1, 2]) == 3


def test_what_writes_files_for_qchaos_is_allowed_there_alone(project: Project) -> None:
    project(functions="registered")
    load = "django_cluster.testing.chaos.workload.work"

    with pytest.raises(FunctionNotAllowed):
        async_task(load, "a file", "a line", 0.0)

    allowed_functions(sandbox_settings(load_settings(), "chaos-1", 5.0).signing.functions).check(load)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("a.b", True), ("a.bc", False), ("a.c.x", True), ("a.c.x.y", True), ("A.b", False), ("a.b.c", False),
     ("print", False), ("a.d1", True), ("a.d12", False)],
)  # fmt: skip
def test_patterns_cover_whole_paths(path: str, allowed: bool) -> None:
    functions = allowed_functions(("a.b", "a.c.*", "a.d?"))
    if allowed:
        functions.check(path)
    else:
        with pytest.raises(FunctionNotAllowed):
            functions.check(path)


@pytest.mark.parametrize("functions", [5, [], [""], ["os"], "os", {"a": 1}, [None], [" a.b"], ["any", "a.b"]])
def test_nonsense_is_refused(project: Project, functions: Any) -> None:
    project(functions=functions)

    assert any("functions must be" in message.msg for message in run_checks(tags=["django_cluster"]))


def test_before_a_deployment_a_project_that_names_no_functions_is_told(project: Project) -> None:
    def told() -> bool:
        found = run_checks(tags=["security"], include_deployment_checks=True)
        return any(message.id == "django_cluster.W020" and message.hint for message in found)

    assert told()
    project(functions="any")
    assert not told()
    project(functions="registered")
    assert not told()
    assert "W020" not in str(run_checks())


def test_the_settings_show_it(project: Project) -> None:
    project(functions=SAMPLE)
    out = StringIO()

    call_command("qinfo", "--config", stdout=out)

    assert "tests.sample.tasks.*" in out.getvalue()
