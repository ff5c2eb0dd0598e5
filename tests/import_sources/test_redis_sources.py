"""``qimport rq`` and ``qimport huey``, from queues that these packages have filled."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from django_cluster.core.arguments import args_from_text
from django_cluster.core.codec import peek_header
from django_cluster.importing.redis_claims import ClaimedList, ClaimedSet
from django_cluster.models import QueuedTask, Schedule, Task
from django_cluster.testing.drain import drain
from tests.sample.tasks import add, echo
from tests.servers import RedisServer

pytestmark = pytest.mark.django_db
SOON = datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)
ADD = "tests.sample.tasks.add"


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Any]:
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        yield client
        client.delete(*client.keys("rq:*"), *client.keys("huey*"), "nothing")


@pytest.fixture
def name() -> str:
    return uuid4().hex[:8]


def qimport(*arguments: str) -> tuple[dict[str, tuple[int, int, int]], str]:
    """({part: (moved, here already, not moved)}, all that was said)."""
    out = StringIO()
    call_command("qimport", *arguments, stdout=out)
    rows = re.findall(r"^(\w+) +(\d+) +(\d+) +(\d+)$", out.getvalue(), re.MULTILINE)
    return {part: (int(moved), int(here), int(left)) for part, moved, here, left in rows}, out.getvalue()


def test_jobs_of_rq_move_in_their_order_and_run(redis: Any, redis_server: RedisServer, name: str) -> None:
    rq = pytest.importorskip("rq")
    queue = rq.Queue(name, connection=redis)
    jobs = [queue.enqueue(ADD, 1, y, job_timeout=30, retry=rq.Retry(max=2)) for y in (2, 3)]
    queue.enqueue_at(SOON, add, 5, 5)
    queue.enqueue(echo, date(2026, 1, 2))
    first = queue.enqueue(ADD, 9, 9)
    queue.enqueue(ADD, 1, 2, depends_on=first)
    queue.enqueue("tests.nowhere.task")
    where = ("rq", "--redis", redis_server.url, "--queues", name)

    with override_settings(Q_CLUSTER={"name": name, "orm": "default", "save_limit": 0}):
        assert qimport(*where, "--dry-run")[0]["Queue"] == (3, 0, 3)
        numbers, said = qimport(*where)
        assert numbers["Queue"] == (3, 0, 3)
        assert "has other jobs that depend on it" in said
        assert "is a pickle with more than plain values (datetime.date): --trust-pickles opens it." in said
        assert "tests.nowhere.task, which cannot be called" in said
        assert qimport(*where, "--trust-pickles")[0]["Queue"] == (1, 0, 2)
        assert len(drain()) == 3

    assert [task.result for task in Task.objects.filter(func=ADD).order_by("started_at")] == [3, 4]
    assert Task.objects.get(func__endswith="echo").args == (date(2026, 1, 2),)
    rows: Any = QueuedTask.objects
    assert rows.get().lock == SOON
    assert redis.exists(f"rq:job:{jobs[0].id}") == 0
    assert redis.exists(f"rq:job:{first.id}") == 1


def test_a_job_of_rq_keeps_its_end_and_stays_if_it_has_a_callback(
    redis: Any, redis_server: RedisServer, name: str
) -> None:
    rq = pytest.importorskip("rq")
    queue = rq.Queue(name, connection=redis)
    queue.enqueue(ADD, 1, 2, ttl=3600)
    queue.enqueue(ADD, 3, 4, on_failure=rq.Callback("tests.sample.tasks.echo"))

    numbers, said = qimport("rq", "--redis", redis_server.url, "--queues", name)

    assert numbers["Queue"] == (1, 0, 1)
    assert "has a callback: let RQ finish it." in said
    assert 3500 < _expiry_of_the_only_task() - time.time() <= 3600


def _expiry_of_the_only_task() -> float:
    expiry = peek_header(QueuedTask.objects.get().payload).options.expires_at
    assert expiry is not None
    return expiry


def test_a_trap_in_a_queue_of_rq_is_not_opened(redis: Any, redis_server: RedisServer, name: str, tmp_path: Any) -> None:
    rq = pytest.importorskip("rq")
    from tests.sample.tasks import touch

    class Trap:
        def __reduce__(self) -> Any:
            return touch, (str(tmp_path / "trace"),)

    rq.Queue(name, connection=redis).enqueue(ADD, Trap())

    assert qimport("rq", "--redis", redis_server.url, "--queues", name)[0]["Queue"] == (0, 0, 1)

    assert not (tmp_path / "trace").exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of the library of rq-scheduler
def test_schedules_of_rq_scheduler_become_rows(redis: Any, redis_server: RedisServer, name: str) -> None:
    scheduler = pytest.importorskip("rq_scheduler").Scheduler(queue_name=name, connection=redis)
    cron = scheduler.cron("30 2 * * *", func=add, args=[1, 2], queue_name=name)
    soon = SOON.replace(tzinfo=None)
    every = scheduler.schedule(soon, func=add, args=[1, 2], interval=600, repeat=4, queue_name=name)
    scheduler.enqueue_at(soon, add, 7, 8)
    where = ("rq", "--redis", redis_server.url, "--queues", name)
    entry = {name: {"HOST": "127.0.0.1", "PORT": redis_server.port}}

    assert qimport(*where, "--only", "schedules", "--dry-run")[0]["Schedules"] == (3, 0, 0)
    assert Schedule.objects.count() == 0
    with override_settings(RQ_QUEUES=entry):
        assert qimport("rq")[0]["Schedules"] == (3, 0, 0)

    rows: dict[Any, Any] = {row.name: row for row in Schedule.objects.all()}
    nightly, often = rows[f"rq:{cron.id}"], rows[f"rq:{every.id}"]
    assert (nightly.cron, nightly.time_zone, args_from_text(nightly.args)) == ("30 2 * * *", "UTC", (1, 2))
    assert (often.schedule_type, often.minutes, often.repeats) == (Schedule.MINUTES, 10, 4)
    assert QueuedTask.objects.count() == 1


@pytest.mark.parametrize("kind", ["RedisHuey", "PriorityRedisHuey"])
def test_tasks_of_huey_move_and_run(redis: Any, redis_server: RedisServer, name: str, kind: str) -> None:
    huey = pytest.importorskip("huey")
    queue = getattr(huey, kind)(name, url=redis_server.url, immediate=False)
    # Its own registry names the functions by their modules.
    theirs = queue.task(retries=2, retry_delay=60)(lambda x, y: None)
    theirs.task_class.__module__, theirs.task_class.__name__ = add.__module__, add.__name__
    queue._registry.register(theirs.task_class)
    theirs(1, 2)
    theirs(3, 4)
    theirs.schedule((5, 6), delay=timedelta(days=9).total_seconds())
    queue.enqueue(theirs.s(1, 2).then(theirs, 5))
    where = ("huey", "--redis", redis_server.url, "--queues", name)

    with override_settings(Q_CLUSTER={"name": name, "orm": "default", "save_limit": 0}):
        assert qimport(*where, "--dry-run")[0]["Queue"] == (3, 0, 1)
        numbers, said = qimport(*where)
        assert numbers["Queue"] == (3, 0, 1)
        assert "is a part of a pipeline or a chord" in said
        drain()

    assert [task.result for task in Task.objects.order_by("started_at")] == [3, 7]
    assert QueuedTask.objects.count() == 1


def test_a_task_of_huey_keeps_its_end_and_stays_if_its_failure_is_handled_or_its_options_are_refused(
    redis: Any, redis_server: RedisServer, name: str
) -> None:
    huey = pytest.importorskip("huey")
    queue = huey.RedisHuey(name, url=redis_server.url, immediate=False)
    theirs = queue.task()(lambda x, y: None)
    theirs.task_class.__module__, theirs.task_class.__name__ = add.__module__, add.__name__
    queue._registry.register(theirs.task_class)
    queue.enqueue(theirs.s(1, 2, expires=timedelta(hours=1)))
    queue.enqueue(theirs.s(1, 2).error(theirs, 5))
    queue.enqueue(theirs.s(1, 2, expires=timedelta(hours=1), delay=7200))

    numbers, said = qimport("huey", "--redis", redis_server.url, "--queues", name)

    assert numbers["Queue"] == (1, 0, 2)
    assert "has a task for its failure" in said
    assert "would expire before it may run" in said
    assert 3500 < _expiry_of_the_only_task() - time.time() <= 3600


def test_a_source_that_is_nowhere_is_asked_for() -> None:
    for source in ("rq", "huey"):
        with pytest.raises(CommandError, match="--redis URL"):
            call_command("qimport", source)


def test_a_redis_behind_a_socket_is_found_in_the_settings(redis: Any, redis_server: RedisServer, name: str) -> None:
    redis.rpush(f"rq:queue:{name}", "deleted")
    path = redis.config_get("unixsocket")["unixsocket"]

    with override_settings(RQ_QUEUES={name: {"UNIX_SOCKET_PATH": path, "DB": 0}}):
        numbers, said = qimport("rq", "--only", "queue")

    assert numbers["Queue"] == (0, 0, 1)
    assert "is the id of a job that RQ has deleted" in said


@pytest.mark.parametrize("key", ["SENTINELS", "USE_REDIS_CACHE"])
def test_an_address_that_is_not_read_is_said_instead_of_asking_this_machine(key: str) -> None:
    with (
        override_settings(RQ_QUEUES={"a": {key: "given", "DB": 0}}),
        pytest.raises(CommandError, match=f"{key}.*--redis"),
    ):
        call_command("qimport", "rq")


@pytest.mark.parametrize("from_tail", [False, True])
def test_a_dry_run_sees_each_item_once_while_workers_take_some(
    redis: Any, name: str, from_tail: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_cluster.importing.redis_claims.BATCH", 2)
    key = f"rq:{name}"
    (redis.lpush if from_tail else redis.rpush)(key, *range(5))
    claims = ClaimedList(redis, key, dry_run=True, from_tail=from_tail)

    seen = [item.member for item in claims.take()]
    (redis.rpop if from_tail else redis.lpop)(key)
    while found := claims.take():
        seen += [item.member for item in found]

    assert seen == [b"%d" % number for number in range(5)]
    assert redis.llen(key) == 4


@pytest.mark.parametrize("source", ["rq", "huey", "django_q"])
def test_an_address_that_is_none_is_a_sentence(source: str) -> None:
    only = ("--only", "queue")

    with pytest.raises(CommandError, match="The address of Redis cannot be used"):
        call_command("qimport", source, "--redis", "localhost:6379", *only, stdout=StringIO())


@pytest.mark.parametrize("kind", ["list", "tail", "set"])
def test_what_a_killed_import_has_taken_is_found_by_the_next(redis: Any, name: str, kind: str) -> None:
    key = f"rq:{name}"
    members = [b"%d" % number for number in range(5)]

    def claims() -> ClaimedList | ClaimedSet:
        if kind == "set":
            return ClaimedSet(redis, key)
        return ClaimedList(redis, key, from_tail=kind == "tail")

    for place, member in enumerate(members):
        if kind == "set":
            redis.zadd(key, {member: place})
        else:
            (redis.lpush if kind == "tail" else redis.rpush)(key, member)
    assert [item.member for item in claims().take()] == members  # and is killed

    again = claims()
    items = again.take()
    assert [item.member for item in items] == members
    again.finish([items[3]])
    assert again.take() == []
    again.return_refused()
    assert [item.member for item in claims().take()] == [b"3"]
