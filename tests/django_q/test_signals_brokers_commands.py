"""Signals, brokers, status, commands, and the small change of Django-Q."""

from __future__ import annotations

import gc
from argparse import ArgumentParser
from datetime import UTC, date, datetime, timedelta
from socket import gethostname
from typing import Any

import pytest
from django.core.management import load_command_class
from django.dispatch import receiver
from django.test import override_settings
from django.utils import timezone

from django_cluster import signals as our_signals
from django_cluster.models import Schedule, Task
from django_cluster.tasks import async_task, fetch, schedule
from django_cluster.testing.drain import drain
from tests.fields import fields
from tests.sample.tasks import add, echo, fail

pytestmark = pytest.mark.django_db

# ── signals ──────────────────────────────────────────────────────────────────────────────────────


def test_signals_are_sent_by_django_q_with_a_dict_for_the_task() -> None:
    from django_q.signals import post_execute, post_execute_in_worker, pre_enqueue, pre_execute

    heard: list[tuple[str, Any, dict[str, Any]]] = []
    names = {
        "pre_enqueue": pre_enqueue,
        "pre_execute": pre_execute,
        "post_execute_in_worker": post_execute_in_worker,
        "post_execute": post_execute,
    }
    receivers = []
    for name, signal in names.items():

        def hear(sender: Any, name: str = name, **facts: Any) -> None:
            heard.append((name, sender, facts))

        signal.connect(hear, sender="django_q")
        receivers.append((signal, hear))
    try:
        task_id = async_task(echo, 1, x=2, group="g")
        drain()
    finally:
        for signal, hear in receivers:
            assert signal.disconnect(hear)

    assert [name for name, _, _ in heard] == list(names)
    assert {sender for _, sender, _ in heard} == {"django_q"}
    assert all(facts["task"]["id"] == task_id for _, _, facts in heard)
    assert heard[1][2]["func"] is echo
    before, after = heard[1][2]["task"], heard[3][2]["task"]
    assert (before["args"], before["kwargs"], before["group"], before.get("hook")) == ((1,), {"x": 2}, "g", None)
    assert (after["success"], after["result"], after["args"]) == (True, ((1,), {"x": 2}), (1,))
    assert dict(after)["stopped"] >= after["started"]


def test_the_signal_of_a_failure_has_its_text() -> None:
    from django_q.signals import post_execute

    heard: list[Any] = []

    @receiver(post_execute)
    def hear(task: Any, **_: Any) -> None:
        heard.append(task)

    async_task(fail)
    drain(raise_errors=False)
    post_execute.disconnect(hear)

    assert not heard[0]["success"]
    assert heard[0]["result"].startswith("no luck : Traceback")


def test_a_new_process_is_announced() -> None:
    from django_q.signals import post_spawn

    heard: list[Any] = []

    def hear(sender: Any, proc_name: str, **_: Any) -> None:
        heard.append((sender, proc_name))

    post_spawn.connect(hear)
    our_signals.post_spawn.send(our_signals.SENDER, proc_name="worker 1")
    post_spawn.disconnect(hear)

    assert heard == [("django_q", "worker 1")]


def test_signals_that_nobody_listens_to_cost_nothing() -> None:
    from django_q.signals import pre_execute

    def hear(**_: Any) -> None:
        """Listens for a while."""

    pre_execute.connect(hear)
    assert our_signals.pre_execute.receivers
    pre_execute.disconnect(hear)
    gc.collect()

    assert not our_signals.pre_execute.receivers


def test_a_receiver_that_asks_for_another_sender_hears_nothing() -> None:
    from django_q.signals import pre_enqueue

    heard: list[Any] = []

    def hear(**facts: Any) -> None:
        heard.append(facts)

    pre_enqueue.connect(hear, sender="somebody else")
    async_task(add, 1, 2)

    assert heard == []


# ── brokers ──────────────────────────────────────────────────────────────────────────────────────

VERBS = (
    *("enqueue", "dequeue", "queue_size", "lock_size", "delete_queue", "purge_queue", "delete", "acknowledge", "fail"),
    *("ping", "info", "get_cache"),
)


@pytest.mark.parametrize("verb", VERBS)
def test_a_broker_has_the_verb(verb: str) -> None:
    from django_q.brokers import get_broker

    assert callable(getattr(get_broker(), verb))


def test_a_broker_does_what_its_verbs_say() -> None:
    from django_q.brokers import Broker, get_broker
    from django_q.signing import SignedPackage

    broker = get_broker("aside")
    assert isinstance(broker, Broker)
    assert (broker.list_key, broker.ping(), broker.queue_size()) == ("aside", True, 0)
    assert "database" in broker.info()
    assert broker.cache is broker.get_cache()

    task = {"id": "1" * 32, "name": "one", "func": add, "args": (1, 2), "kwargs": {}, "started": timezone.now()}
    for _ in range(3):
        broker.enqueue(SignedPackage.dumps(task))
    assert broker.queue_size() == 3
    lent = broker.dequeue()
    assert SignedPackage.loads(lent[0][1])["func"] == "tests.sample.tasks.add"
    assert broker.lock_size() == 3
    broker.acknowledge(lent[0][0])
    broker.fail(lent[1][0])
    broker.delete(lent[2][0])
    assert (broker.lock_size(), broker.queue_size(), broker.dequeue()) == (0, 0, None)
    broker.enqueue(SignedPackage.dumps(task))
    assert broker.purge_queue() == 1


def test_a_foreign_package_is_a_bad_signature() -> None:
    from django_q.signing import BadSignature, SignedPackage

    text = SignedPackage.dumps({"id": "1" * 32, "name": "one", "func": "a.b", "hook": "c.d", "timeout": 5})
    assert SignedPackage.loads(text)["hook"] == "c.d"
    with override_settings(SECRET_KEY="another"), pytest.raises(BadSignature):
        SignedPackage.loads(text)


# ── status, cluster, scheduler ───────────────────────────────────────────────────────────────────

STAT = (
    *("cluster_id", "pid", "host", "tob", "status", "reincarnations", "sentinel", "monitor", "pusher", "workers"),
    *("task_q_size", "done_q_size", "timestamp"),
)


def test_an_unknown_cluster_is_a_stopped_status() -> None:
    from django_q.conf import Conf
    from django_q.status import Stat, Status

    status = Stat.get(4711, "0" * 32)

    assert isinstance(status, Status)
    assert status.status == Conf.STOPPED
    assert Stat.get_all() == []
    assert all(hasattr(status, name) for name in STAT)
    assert callable(Stat.uptime)
    assert callable(Stat.empty_queues)


def test_a_cluster_is_made_without_arguments() -> None:
    from django_q.brokers import get_broker
    from django_q.cluster import Cluster

    cluster = Cluster(broker=get_broker("long"))

    assert fields(cluster, "pid", "is_running", "has_stopped", "sentinel") == {
        "pid": None,
        "is_running": False,
        "has_stopped": True,
        "sentinel": None,
    }
    assert all(callable(getattr(cluster, verb)) for verb in ("start", "stop"))
    assert (cluster.stat.status, cluster.cluster_id, cluster.name) == ("Stopped", "", "")
    assert fields(cluster, "is_starting", "is_stopping", "host") == {
        "is_starting": False,
        "is_stopping": False,
        "host": gethostname(),
    }


def test_one_look_at_the_schedules_can_be_asked_for() -> None:
    from django_q.scheduler import scheduler

    row = schedule(add, 1, 2, next_run=timezone.now() - timedelta(seconds=5), repeats=2, schedule_type="D")

    scheduler()

    (task_id,) = drain()
    row.refresh_from_db()
    assert (row.task, row.repeats, row.success()) == (task_id, 1, True)


def test_every_argument_of_schedule_is_kept() -> None:
    due = timezone.now() + timedelta(days=3)
    row = schedule(
        "tests.sample.tasks.echo",
        1,
        name="n",
        hook="tests.sample.hooks.note",
        schedule_type=Schedule.MINUTES,
        minutes=5,
        repeats=3,
        next_run=due,
        cluster="long",
        intended_date_kwarg="when",
        x=2,
        q_options={"timeout": 9, "group": "g"},
    )
    row.refresh_from_db()

    kept = (row.name, row.hook, row.schedule_type, row.minutes, row.repeats, row.next_run, row.queue)
    assert kept == ("n", "tests.sample.hooks.note", "I", 5, 3, due, "long")
    assert (row.args, row.intended_date_kwarg) == ("(1,)", "when")
    assert "timeout" in str(row.kwargs)
    assert schedule("a.b", schedule_type="C", cron="0 5 * * *").cron == "0 5 * * *"


def test_the_intended_date_is_given_as_text() -> None:
    from django_q.scheduler import scheduler

    due = timezone.now() - timedelta(seconds=5)
    schedule(echo, next_run=due, intended_date_kwarg="when")
    scheduler()
    (task_id,) = drain()

    task = fetch(task_id)
    assert task is not None
    assert datetime.fromisoformat(task.result[1]["when"]) == due
    assert Task.objects.count() == 1


# ── commands ─────────────────────────────────────────────────────────────────────────────────────

FLAGS = {
    "qcluster": ["--run-once", "-n", "--name"],
    "qmonitor": ["--run-once"],
    "qinfo": ["--config", "--ids"],
    "qmemory": ["--run-once", "--workers"],
}


@pytest.mark.parametrize(("command", "flag"), [(command, flag) for command, flags in FLAGS.items() for flag in flags])
def test_a_command_knows_the_flag(command: str, flag: str) -> None:
    parser: ArgumentParser = load_command_class("django_cluster", command).create_parser("manage.py", command)

    assert flag in parser._option_string_actions


def test_the_functions_behind_the_commands_print_what_these_do(capsys: pytest.CaptureFixture[str]) -> None:
    from django_q.brokers import get_broker
    from django_q.monitor_terminal import get_ids, info, memory, monitor

    monitor(run_once=True, broker=get_broker())
    info(get_broker())
    memory(run_once=True, workers=True)
    get_ids()

    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.count("No cluster is running") == 2
    assert "Tasks/day" in printed.out


# ── small change ─────────────────────────────────────────────────────────────────────────────────


def test_ids_and_their_names() -> None:
    from django_q.humanhash import humanize, uuid

    name, digits = uuid()

    assert (len(digits), name) == (32, humanize(digits))
    assert humanize(digits, words=2, separator="_").count("_") == 1


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        (date(2026, 1, 31), 1, date(2026, 2, 28)),
        (date(2026, 11, 30), 3, date(2027, 2, 28)),
        (datetime(2026, 5, 10, 12, tzinfo=UTC), 8, datetime(2027, 1, 10, 12, tzinfo=UTC)),
    ],
)
def test_months_are_added_and_clamped(start: Any, months: int, end: Any) -> None:
    from django_q.utils import add_months

    assert add_months(start, months) == end


def test_years_are_added_and_29_february_becomes_the_28th() -> None:
    from django_q.utils import add_years

    assert add_years(date(2028, 2, 29), 1) == date(2029, 2, 28)
    assert add_years(date(2028, 2, 29), 4) == date(2032, 2, 29)


def test_a_moment_is_shown_in_the_local_zone() -> None:
    from django_q.utils import localtime

    assert localtime(datetime(2026, 7, 1, 12, tzinfo=UTC)).hour == 14  # Amsterdam
    assert localtime() <= timezone.now()


def test_functions_are_named() -> None:
    from django_q.utils import get_func_repr

    assert get_func_repr(add) == "tests.sample.tasks.add"
    assert get_func_repr(date.today) == str(date.today)
    assert get_func_repr("a.b") == "a.b"
    assert get_func_repr(None) is None


def test_the_exception_of_a_time_limit_is_ours() -> None:
    from django_q.exceptions import TimeoutException

    from django_cluster.errors import TaskTimeout

    assert TimeoutException is TaskTimeout


def test_a_plugin_of_django_q_still_reports() -> None:
    """The entry points are tested in ``tests/unit/lifecycle/test_error_reporting.py``."""
    from django_cluster.lifecycle.error_reporting import ENTRY_POINT_GROUPS

    assert "djangoq.errorreporters" in ENTRY_POINT_GROUPS


def test_the_version_is_a_tuple() -> None:
    from django_q import VERSION

    assert VERSION >= (1, 11)
