"""Rows for the pages that are looked at: a shop in an ordinary night."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from django.utils import timezone

from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.settings import ResultSettings, SigningSettings
from django_cluster.models import QueuedTask, Schedule
from django_cluster.stores.history_writer import HistoryWriter
from django_cluster.stores.operator_commands import OperatorCommandStore
from django_cluster.stores.orm import OrmResults
from django_cluster.stores.session import results_session
from django_cluster.stores.status import ClusterStatus, ProcessStatus, RunningTask, StatusStore, Throughput
from django_cluster.testing.outcomes import make_failure, make_outcome
from tests.sealed import sealed_result

SUCCESS_ID, FAILURE_ID, DEAD_ID = "5" * 32, "7" * 32, "9" * 32

BANK = "The bank at bank.example:443 refused the connection"
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/orders/tasks.py", line 41, in charge
    answer = bank.charge(order.total, order.card)
  File "/srv/shop/bank.py", line 17, in charge
    raise ConnectionRefusedError("The bank at bank.example:443 refused the connection")
ConnectionRefusedError: The bank at bank.example:443 refused the connection"""


def fill() -> None:
    _tasks()
    _schedules()
    _queue()
    _history()
    clusters()


def _tasks() -> None:
    now = time.time()

    def at(seconds_ago: float, wait: float, run: float) -> dict[str, float]:
        stopped = now - seconds_ago
        return {"enqueued_at": stopped - run - wait, "started_at": stopped - run, "stopped_at": stopped}

    names = ["send_receipt", "resize_image", "index_product", "warm_cache", "export_orders"]
    rows = [
        make_outcome(
            name=f"order {4000 + number}",
            func=f"shop.tasks.{names[number % 5]}",
            worker=f"worker {number % 4 + 1}",
            options={"group": "night" if number % 3 else None, "queue": "default"},
            **at(17.0 * number, 0.02 * (number % 7), 0.05 * (number % 11) + 0.01),
        )
        for number in range(60)
    ]
    rows.append(
        make_outcome(
            id=SUCCESS_ID,
            name="order 4242",
            func="shop.tasks.send_receipt",
            pair=((4242, "ada@example.org"), {"language": "en", "attach": ["receipt.pdf", "terms.pdf"]}),
            result=sealed_result({"message_id": "<4242@shop.example>", "accepted": True}, SUCCESS_ID),
            options={"group": "night", "timeout": 30, "priority": 5, "max_attempts": 4, "retry_on": ["OSError"]},
            **at(3, 0.4, 1.2),
        )
    )
    charge = make_failure(
        id=FAILURE_ID,
        name="charge order 4243",
        func="shop.tasks.charge",
        pair=((4243,), {"currency": "EUR"}),
        options={"group": "night", "max_attempts": 3},
        failure=("ConnectionRefusedError", BANK, TRACEBACK),
        worker="worker 2",
        **at(400, 0.4, 2.2),
    )
    store = OrmResults(ResultSettings(save_limit=0))
    store.save(rows)
    store.save([charge._replace(final=False)])
    second = charge._replace(attempt=2, status="timeout", final=False, worker="worker 1")
    store.save([second._replace(started_at=now - 380, stopped_at=now - 320)])
    store.save([charge._replace(attempt=3, worker="worker 4", started_at=now - 100, stopped_at=now - 98)])
    others = {
        "timeout": ("TaskTimeout", "It ran for longer than 60 seconds"),
        "lost": ("WorkerLost", "Its worker was killed by signal 9 (SIGKILL)"),
        "rejected": ("UnknownFunction", "shop.tasks.old cannot be found: the module shop.tasks has no old."),
        "discarded": ("Discard", "The customer has left"),
    }
    for number, (status, (kind, text)) in enumerate(others.items()):
        moments = at(60.0 * number + 30, 0.1, 1.0)
        store.save(
            [
                make_failure(
                    status=status,
                    name=f"order {4300 + number}",
                    func="shop.tasks.pack",
                    failure=(kind, text, ""),
                    **moments,
                )
            ]
        )
    dead = make_failure(
        id=DEAD_ID,
        status="dead",
        name="thumbnail 77",
        func="shop.tasks.resize_image",
        failure=("OutOfMemory", "Three workers died under it, the last by signal 9 (the kernel was out of memory)", ""),
        payload=_message("thumbnail 77", "shop.tasks.resize_image", None),
        **at(700, 0.4, 2.2),
    )
    store.save([dead])


def _history() -> None:
    """An hour of a shop, whose bank was away for some minutes."""
    now = time.time()
    shares = {"send_receipt": 12, "resize_image": 7, "index_product": 20, "export_orders": 1, "charge": 6}
    session = results_session("default")
    for minute in range(60):
        then = now - 60.0 * minute
        outcomes = []
        for place, (name, count) in enumerate(shares.items()):
            for number in range(count + (minute * 7 + place * 3) % 5):
                run, wait = 0.08 * (1 + place) ** 2 * (1 + number % 4), 0.2 + (minute % 9) * 0.15 * (1 + number % 3)
                moments = {"enqueued_at": then - run - wait, "started_at": then - run, "stopped_at": then}
                away = name == "charge" and 20 <= minute < 27
                made = make_failure if away else make_outcome
                failure = {"failure": ("ConnectionRefusedError", BANK, ""), "final": False} if away else {}
                outcomes.append(made(number=0, func=f"shop.tasks.{name}", queue="default", **moments, **failure))
        with session.transaction():
            HistoryWriter("shop", session, clock=lambda then=then: then).write(outcomes)  # type: ignore[misc]


def many() -> None:
    """Failures for more than one screen, named as tasks without a name are."""
    now = time.time()
    errors = [
        ("shop.errors.CardError", "Your card was declined.", TRACEBACK),
        ("TypeError", "send_mail() got multiple values for argument 'subject'", TRACEBACK),
        ("TimeoutError", "The bank at bank.example:443 did not answer within 30 seconds", TRACEBACK),
    ]
    funcs = ["billing.tasks.refund", "shop.notifications.tasks.send_mail", "shop.tasks.charge"]
    for number in range(30):
        payload = _message(f"carbon-alabama-september-{number}", funcs[number % 3], "night")
        QueuedTask.objects.create(queue="tests", due=int(now * 1_000_000), payload=payload)
    OrmResults(ResultSettings(save_limit=0)).save(
        [
            make_failure(
                name=f"carbon-alabama-september-{number}",
                func=funcs[number % 3],
                failure=errors[number % 3],
                options={"group": "night", "queue": "default"},
                enqueued_at=now - 3010 - 900 * number,
                started_at=now - 3005 - 900 * number,
                stopped_at=now - 3000 - 900 * number,
            )
            for number in range(30)
        ]
    )


def _message(name: str, func: str, group: str | None) -> str:
    header = TaskHeader(
        id="d" * 32, name=name, func=func, enqueued_at=time.time() - 300, options=TaskOptions(group=group)
    )
    return Codec(SigningSettings(secret="somebody's")).dumps(TaskPackage(header=header, args=(1, 2)))


def _schedules() -> None:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    rows: list[dict[str, Any]] = [
        {"name": "nightly report", "func": "tests.sample.tasks.add", "args": "1, 2", "schedule_type": "D"},
        {"name": "warm cache", "func": "tests.sample.tasks.nothing", "schedule_type": "I", "minutes": 10},
        {"name": "invoices", "func": "tests.sample.tasks.nothing", "schedule_type": "C", "cron": "30 2 * * 1-5"},
        {
            "name": "clean up",
            "func": "tests.sample.tasks.nothing",
            "schedule_type": "W",
            "declared": "shop.tasks.clean",
        },
    ]
    for row in rows:
        Schedule.objects.create(**{"next_run": now + timedelta(hours=3), "task": SUCCESS_ID, **row})
    Schedule.objects.filter(name="warm cache").update(enabled=False, last_error="shop.tasks has no warm.")


def _queue() -> None:
    now = int(time.time() * 1_000_000)
    for number in range(12):
        state: dict[str, Any] = {}
        if number < 2:
            state = {"leased": True, "lane": QueuedTask.NOT_READY_LANE, "attempts": 1}
        elif number > 9:
            state = {"lane": QueuedTask.NOT_READY_LANE}
        payload = _message(f"order {4400 + number}", "shop.tasks.send_receipt", "night")
        QueuedTask.objects.create(queue="tests", due=now + number * 1_000_000, payload=payload, **state)


def clusters() -> None:
    """Heard of just now."""
    now = time.time()
    tasks = [
        RunningTask(id="1" * 32, name="order 4500", func="shop.tasks.send_receipt", started=now - 4, limit=60.0),
        RunningTask(id="2" * 32, name="export 9", func="shop.tasks.export_orders", started=now - 3500, limit=3600.0),
        None,
    ]
    processes = [
        ProcessStatus(role="sentinel", pid=4101, state="running", rss=41_000),
        ProcessStatus(role="monitor", pid=4102, incarnation=1, state="idle", rss=52_000, cpu=1),
        ProcessStatus(role="pusher", pid=4103, incarnation=2, state="idle", rss=48_000, cpu=2),
    ]
    for index, task in enumerate(tasks):
        processes.append(
            ProcessStatus(
                role="worker",
                index=index,
                incarnation=index + 3,
                pid=4104 + index,
                state="busy" if task else "idle",
                done=1200 + index * 37,
                rss=88_000 + 4000 * index,
                cpu=17.0 * index,
                task=task,
            )
        )
    status = ClusterStatus(
        id="8c1d7a9e-0000-4000-8000-000000000001", name="shop", queues=("default", "mail"), host="web-1", pid=4101,
        state="running", started_at=now - 7300, published_at=now, interval=3.0, restarts=1, in_flight=2, broker="orm",
        versions={"django_cluster": "0.1.0", "django": "6.1"}, processes=tuple(processes),
        throughput=Throughput(done=3705, failed=9),
    )  # fmt: skip
    StatusStore().publish(status)
    OperatorCommandStore().pause("newsletter", "ada")
