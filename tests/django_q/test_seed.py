"""The page of Django-Q's documentation about settings, sentence by sentence.

Each test is one sentence, in our words. Where we differ on purpose, the test shows what holds here, and names the row
of ``docs/how-to/moving-from-django-q.md`` or of the reference (column *Django-Q*) that says so. What needs a cluster of
processes is in ``test_seed_clusters.py``.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
import time_machine
from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.checks import ERROR
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from django_cluster.brokers import ADAPTERS, broker_class, open_broker, sqs
from django_cluster.brokers.base import Broker
from django_cluster.brokers.disque import DisqueBroker
from django_cluster.brokers.disque_connection import DisqueConnection
from django_cluster.brokers.ironmq_connection import IronOptions
from django_cluster.brokers.messages import Message
from django_cluster.brokers.mongo_connection import MongoConnection
from django_cluster.brokers.orm import OrmBroker
from django_cluster.brokers.redis import RedisBroker
from django_cluster.brokers.redis_clients import build_client
from django_cluster.brokers.sqs import SqsBroker
from django_cluster.brokers.sqs_options import SqsOptions
from django_cluster.checks.settings import validate_config
from django_cluster.client.client import get_client
from django_cluster.cluster.bootstrap.host import share_of_cpus
from django_cluster.conf import load_settings
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.core.settings import Settings, cpus
from django_cluster.core.settings.parser import parse
from django_cluster.core.settings.table import BY_KEY
from django_cluster.errors import BadSignature
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.models import QueuedTask, Task
from django_cluster.stores.pruning import Pruner
from django_cluster.stores.session import results_session
from django_cluster.tasks import async_task, fetch, queue_size, result, schedule
from django_cluster.testing.drain import drain
from tests.brokers import known_database
from tests.sample.tasks import add, echo, fail
from tests.servers import DisqueServer, RedisServer, SqsServer
from tests.servers.base import free_port

MOVING = (Path(__file__).parents[2] / "docs/how-to/moving-from-django-q.md").read_text()


def read(**q_cluster: Any) -> Settings:
    return parse(q_cluster, secret="s")


def errors(**q_cluster: Any) -> list[str]:
    with override_settings(Q_CLUSTER=q_cluster):
        return [message.msg for message in validate_config() if message.level >= ERROR]


def broker_of(**q_cluster: Any) -> Broker:
    return open_broker(read(**q_cluster).broker)


def differs(key: str, *words: str) -> None:
    """The reference says under ``key`` how it differs."""
    said = f"{BY_KEY[key].django_q} {BY_KEY[key].difference}"
    assert all(word in said for word in words), said


def _header() -> TaskHeader:
    return TaskHeader(id="1" * 32, name="one", func="tests.sample.tasks.echo", enqueued_at=1.0)


# ── the dict ─────────────────────────────────────────────────────────────────────────────────────


def test_everything_stands_in_the_dict_q_cluster_as_the_example_shows() -> None:
    example = {
        **{"name": "myproject", "workers": 8, "recycle": 500, "timeout": 60, "compress": True, "save_limit": 250},
        **{"queue_limit": 500, "cpu_affinity": 1, "label": "Django Q"},
        "redis": {"host": "127.0.0.1", "port": 6379, "db": 0},
    }

    settings = read(**example)

    assert errors(**example) == []
    crew = settings.processes
    assert (settings.name, crew.workers, crew.recycle, crew.timeout) == ("myproject", 8, 500, 60)
    assert (settings.signing.compress, settings.results.save_limit, crew.prefetch) == (True, 250, 500)
    assert (crew.cpu_affinity, settings.label, settings.broker.kind) == (1, "Django Q", "redis")


def test_every_setting_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    assert errors() == []
    with override_settings():
        del django_settings.Q_CLUSTER
        assert load_settings().name == "default"


# ── name ─────────────────────────────────────────────────────────────────────────────────────────


def test_name_keeps_projects_apart_that_share_a_broker(redis_server: RedisServer) -> None:
    one, other = (broker_of(name=f"{name}-{uuid4().hex}", redis=redis_server.url) for name in ("shop", "bank"))

    one.enqueue([Message("for the shop")])

    assert other.lease(1) == []
    assert [each.payload for each in one.lease(1)] == ["for the shop"]


def test_name_is_the_name_of_the_queue() -> None:
    assert read(name="shop").queue == read(name="shop").broker.queue == "shop"


def test_name_is_default_unless_it_is_set() -> None:
    assert (read().name, read().queue) == ("default", "default")


def test_tasks_are_signed_and_one_with_another_signature_is_not_run() -> None:
    """It is discarded or failed there; here it is returned to the queue twice, then rejected with its message."""
    package = Codec(read(name="bank").signing).dumps(TaskPackage(header=_header(), args=(1,)))

    with pytest.raises(BadSignature):
        Codec(read(name="shop").signing).verify(package)
    assert Codec(read(name="bank").signing).loads(package).args == (1,)
    assert "returned to the queue twice, then rejected" in MOVING


# ── workers ──────────────────────────────────────────────────────────────────────────────────────


def test_workers_is_a_number_of_ones_own_or_that_of_the_cpus() -> None:
    assert parse({}, secret="s", cpu_count=6).processes.workers == 6
    assert parse({"workers": 3}, secret="s", cpu_count=6).processes.workers == 3
    assert 1 <= read().processes.workers <= (os.cpu_count() or 1)
    differs("workers", "limits of containers")


def test_where_the_number_of_cpus_is_not_known_there_is_one_worker_or_as_many_as_the_setting_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The footnote. psutil is not asked: the number is not known only where psutil would not know it either."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)

    assert cpus.available_cpus() == 1
    assert (read().processes.workers, read(workers=7).processes.workers) == (1, 7)


# ── numbers and their defaults ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "section", "field", "value"),
    [
        ("daemonize_workers", "processes", "daemonize", True),
        ("recycle", "processes", "recycle", 500),
        ("max_rss", "processes", "max_rss", None),
        ("timeout", "processes", "timeout", None),
        ("ack_failures", "delivery", "ack_failures", False),
        ("max_attempts", "delivery", "max_attempts", 0),
        ("retry", "broker", "lease", 60),
        ("compress", "signing", "compress", False),
        ("save_limit", "results", "save_limit", 250),
        ("poll", "broker", "poll", 0.2),
        ("cache", "results", "cache", "default"),
        ("cached", "results", "cached", False),
        ("scheduler", "schedule", "enabled", True),
        ("catch_up", "schedule", "catch_up", "all"),
        ("cpu_affinity", "processes", "cpu_affinity", 0),
    ],
)
def test_the_default_is_that_of_the_page(key: str, section: str, field: str, value: Any) -> None:
    assert getattr(getattr(read(), section), field) == value
    assert (BY_KEY[key].section, BY_KEY[key].field) == (section, field)


@pytest.mark.parametrize(
    ("key", "section", "field", "value", "words"),
    [
        ("queue_limit", "processes", "prefetch", 0, ["the square of `workers`"]),
        ("bulk", "broker", "bulk", 500, ["is 1, and Redis ignores it", "large number does no harm"]),
    ],
)
def test_another_default_is_said_with_its_reason(
    key: str, section: str, field: str, value: Any, words: list[str]
) -> None:
    assert getattr(getattr(read(), section), field) == value
    differs(key, *words)


def test_label_has_another_default() -> None:
    assert read().label == "Django Cluster"
    differs("label", "the default is `Django Q`")


@pytest.mark.parametrize(("value", "fits"), [(0, False), (0.001, True), (59.9, True), (60, False), (-1, False)])
def test_guard_cycle_is_above_0_and_below_60(value: float, fits: bool) -> None:
    assert (errors(guard_cycle=value) == []) is fits


# ── failures ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tasks_run(db: None) -> None:
    """Tasks are sent to the database of the test, and run by ``drain``."""


def waiting() -> int:
    return get_client().broker.size().total


@pytest.mark.parametrize("acknowledged", [True, False])
def test_ack_failures_takes_a_failed_task_out_of_the_queue(tasks_run: None, acknowledged: bool) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "ack_failures": acknowledged}):
        task_id = async_task(fail)
        drain(raise_errors=False)

        assert waiting() == (0 if acknowledged else 1)
        task = fetch(task_id)
    assert task is not None
    assert not task.success


def test_ack_failure_says_the_same_for_one_task(tasks_run: None) -> None:
    async_task(fail, ack_failure=True)
    async_task(fail)

    drain(raise_errors=False)

    assert waiting() == 1


def test_max_attempts_limits_how_often_a_failed_task_is_run(tasks_run: None) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "max_attempts": 3, "retry_delay": 0, "retry_jitter": False}):
        task_id = async_task(fail)
        for _ in range(6):
            drain(raise_errors=False)

        task = fetch(task_id)
        assert task is not None
        assert (task.attempt_count, waiting()) == (3, 0)


def test_max_attempts_0_means_without_end(tasks_run: None) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "max_attempts": 0, "retry_delay": 0, "retry_jitter": False}):
        async_task(fail)
        with pytest.raises(AssertionError, match="20 tasks were run, and there are more"):
            drain(raise_errors=False, limit=20)

        assert waiting() == 1
        assert Task.objects.get().attempt_count == 20


# ── retry ────────────────────────────────────────────────────────────────────────────────────────


def test_retry_is_the_time_after_which_a_message_that_nobody_ended_is_presented_again(
    redis_server: RedisServer,
) -> None:
    broker = broker_of(name=f"seed-{uuid4().hex}", redis=redis_server.url, retry=0.5)
    broker.enqueue([Message("one")])
    begun = time.monotonic()
    assert len(broker.lease(1)) == 1

    while not (again := broker.lease(1, 0.1)):
        assert time.monotonic() - begun < 10

    assert time.monotonic() - begun >= 0.4
    assert again[0].attempt == 2


def test_every_broker_knows_receipts() -> None:
    """There, ``retry`` has no effect on Redis: what a dead cluster had taken is lost."""
    assert all(callable(broker_class(kind).acknowledge) for kind in ADAPTERS)
    differs("redis", "Tasks that a dead cluster had leased run elsewhere")


def test_retry_need_not_be_longer_than_timeout_nor_than_a_task() -> None:
    assert errors(retry=5, timeout=60) == []
    with override_settings(Q_CLUSTER={"retry": 5, "timeout": 60}):
        assert not [each.msg for each in validate_config() if "retry" in each.msg or "timeout" in each.msg]
    differs("retry", "Need not be longer than `timeout`")


# ── what travels, and what stays ─────────────────────────────────────────────────────────────────


def test_compress_makes_large_packages_smaller_on_their_way_to_the_broker(tasks_run: None) -> None:
    def sent(compress: bool, size: int) -> int:
        with override_settings(Q_CLUSTER={"name": "tests", "compress": compress, "max_attempts": 1}):
            async_task(echo, "x" * size)
            (message,) = get_client().broker.peek()
            drain()
        return len(message.payload)

    assert sent(True, 100_000) < sent(False, 100_000) / 10
    assert abs(sent(True, 10) - sent(False, 10)) < 20
    differs("compress", "Only packages of more than `compress_threshold`")


def rows_after(save_limit: int, successes: int = 5) -> tuple[int, int]:
    """Rows of successes and of failures that are left."""
    with override_settings(Q_CLUSTER={"name": "tests", "save_limit": save_limit, "max_attempts": 1}):
        for number in range(successes):
            async_task(add, number, 1)
            async_task(fail)
        drain(raise_errors=False)
        Pruner(results_session("default"), load_settings().results).prune()
    return Task.objects.filter(success=True).count(), Task.objects.filter(success=False).count()


def test_save_limit_is_the_number_of_successes_that_are_kept_and_failures_are_always_kept(tasks_run: None) -> None:
    assert rows_after(2) == (2, 5)


def test_save_limit_0_keeps_them_all(tasks_run: None) -> None:
    assert rows_after(0) == (5, 5)


def test_save_limit_of_minus_1_keeps_no_success_at_all(tasks_run: None) -> None:
    assert rows_after(-1) == (0, 5)


def test_sync_runs_every_task_at_once_in_the_process_that_sends_it(tasks_run: None) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "sync": True}):
        task_id = async_task(os.getpid)
        assert result(task_id) == os.getpid()
        assert queue_size() == 0
    assert not read().sync


def test_queue_limit_does_not_limit_what_waits_at_the_broker(tasks_run: None) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "queue_limit": 1}):
        for _ in range(20):
            async_task(add, 1, 1)
        assert queue_size() == 20


def test_label_is_the_heading_of_the_admins_page(admin_client: Client) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "label": "Errands & more"}):
        assert "Errands &amp; more" in admin_client.get(reverse("admin:index")).content.decode()


# ── schedules ────────────────────────────────────────────────────────────────────────────────────


def runs_of_a_schedule_missed_by(minutes: int, **q_cluster: Any) -> int:
    """How many runs there are of one that is due every minute, after the scheduler has looked often enough."""
    from django_q.scheduler import scheduler

    with override_settings(Q_CLUSTER={"name": "tests", **q_cluster}):
        due = timezone.now() - timedelta(minutes=minutes, seconds=5)
        row = schedule(add, 1, 1, schedule_type="I", minutes=1, next_run=due)
        for _ in range(minutes + 5):
            scheduler()
        row.refresh_from_db()
        assert row.next_run is not None
        assert row.next_run > timezone.now()
        return len(drain())


def test_by_default_a_schedule_makes_up_for_all_runs_that_it_missed(tasks_run: None) -> None:
    assert runs_of_a_schedule_missed_by(4) == 5


def test_without_catch_up_it_runs_once_and_goes_on_as_usual(tasks_run: None) -> None:
    assert runs_of_a_schedule_missed_by(4, catch_up=False) == 1


# ── redis ────────────────────────────────────────────────────────────────────────────────────────

REDIS_DEFAULTS = {
    **{"host": "localhost", "port": 6379, "db": 0, "password": None, "socket_timeout": None, "charset": "utf-8"},
    **{"errors": "strict", "unix_socket_path": None},
}


def test_redis_may_be_written_with_all_its_defaults_and_then_they_hold() -> None:
    written = build_client(read(redis=REDIS_DEFAULTS).broker.options).connection_pool.connection_kwargs
    plain = build_client(read(redis={}).broker.options).connection_pool.connection_kwargs

    place = {key: written[key] for key in ("host", "port", "db", "password", "socket_timeout", "encoding")}
    assert place == {**{key: REDIS_DEFAULTS[key] for key in list(REDIS_DEFAULTS)[:5]}, "encoding": "utf-8"}
    assert (plain["host"], plain["port"], plain["db"]) == ("localhost", 6379, 0)
    assert errors(redis=REDIS_DEFAULTS) == []


def test_without_a_word_redis_waits_five_seconds_for_an_answer() -> None:
    """There, it waits forever."""
    plain = build_client(read(redis={}).broker.options).connection_pool.connection_kwargs

    assert plain["socket_timeout"] == 5
    assert "`socket_timeout` is 5 seconds" in (Path(__file__).parents[2] / "docs/how-to/redis.md").read_text()


def test_redis_may_be_a_url_with_a_password() -> None:
    url = "redis://h:asdfqwer1234asdf@ec2-111-1-1-1.compute-1.amazonaws.com:111"
    said = build_client(read(redis=url).broker.options).connection_pool.connection_kwargs

    assert (said["username"], said["password"], said["port"]) == ("h", "asdfqwer1234asdf", 111)
    assert said["host"] == "ec2-111-1-1-1.compute-1.amazonaws.com"


def test_redis_takes_any_keyword_of_redis_py() -> None:
    said = read(redis={"client_name": "shop", "health_check_interval": 7, "max_connections": 3, "protocol": 3})

    assert errors(redis=dict(said.broker.options["kwargs"])) == []
    assert build_client(said.broker.options).connection_pool.connection_kwargs["client_name"] == "shop"


@pytest.mark.parametrize("backend", ["django_redis.cache.RedisCache", "django.core.cache.backends.redis.RedisCache"])
def test_django_redis_is_the_name_of_a_cache_whose_server_is_used(redis_server: RedisServer, backend: str) -> None:
    name = f"seed-{uuid4().hex}"
    with override_settings(CACHES={"default": {"BACKEND": backend, "LOCATION": redis_server.url}}):
        broker_of(name=name, django_redis="default").enqueue([Message("one")])

    assert [each.payload for each in broker_of(name=name, redis=redis_server.url).lease(1)] == ["one"]


def test_secret_key_signs_what_is_sent() -> None:
    text = Codec(parse({}, secret="one").signing).dumps(TaskPackage(header=_header()))

    assert Codec(parse({}, secret="one").signing).loads(text)
    with pytest.raises(BadSignature):
        Codec(parse({}, secret="another").signing).loads(text)


# ── disque ───────────────────────────────────────────────────────────────────────────────────────


def test_disque_nodes_are_tried_in_any_order_until_one_answers(disque_server: DisqueServer) -> None:
    nodes = [f"127.0.0.1:{free_port()}", *disque_server.settings["disque_nodes"]]
    broker = broker_of(**{**disque_server.settings, "disque_nodes": nodes, "name": f"seed-{uuid4().hex}"})

    broker.enqueue([Message("one")])

    assert [each.payload for each in broker.lease(1, 2)] == ["one"]
    first = {DisqueConnection({"nodes": ("a:1", "b:1")})._nodes[0] for _ in range(100)}
    assert first == {("a", 1), ("b", 1)}


def test_an_addon_says_its_nodes_and_its_password_in_variables() -> None:
    nodes, password = "a.tynd.co:7711,b.tynd.co:7712", "hush"

    section = read(name="TyndBroker", bulk=10, disque_nodes=nodes.split(","), disque_auth=password).broker

    assert section.options == {"nodes": ("a.tynd.co:7711", "b.tynd.co:7712"), "password": "hush"}
    assert isinstance(open_broker(section), DisqueBroker)
    assert "password" not in read(disque_nodes=["a:1"]).broker.options


# ── iron_mq ──────────────────────────────────────────────────────────────────────────────────────

IRON = {"host": "mq-aws-us-east-1.iron.io", "token": "Et1En7.....0LuW39Q", "project_id": "500f7b....b0f302e9"}


def test_iron_mq_has_the_connection_of_the_example() -> None:
    options = IronOptions.of(read(iron_mq=IRON).broker.options)

    assert (options.host, options.token, options.project_id) == tuple(IRON.values())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("protocol", "http"),
        ("port", 8080),
        ("api_version", 3),
        ("config_file", None),
        ("keystone", {"server": "http://k/v2.0", "tenant": "t", "username": "u", "password": "p"}),
        ("cloud", "https://mq.example/prefix"),
        ("path_prefix", "/prefix"),
    ],
)
def test_iron_mq_takes_every_keyword_of_its_library(key: str, value: Any) -> None:
    assert errors(iron_mq={**IRON, key: value}) == []


# ── sqs ──────────────────────────────────────────────────────────────────────────────────────────


def test_sqs_has_region_and_credentials_in_the_settings() -> None:
    written = {"aws_region": "us-east-1", "aws_access_key_id": "ac-Idr", "aws_secret_access_key": "500f7b"}

    session = SqsOptions.of(read(sqs=written).broker.options).session

    assert dict(session) == {
        "region_name": "us-east-1",
        "aws_access_key_id": "ac-Idr",
        "aws_secret_access_key": "500f7b",
    }


def test_sqs_takes_what_is_not_written_from_where_boto3_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DEFAULT_REGION": "eu-west-3", "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "hush"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    broker = broker_of(sqs={})
    assert isinstance(broker, SqsBroker)

    client = broker._connection.client

    assert client.meta.region_name == "eu-west-3"
    assert client._request_signer._credentials.access_key == "key"


def test_sqs_gives_at_most_ten_messages_a_call_and_takes_a_limited_number_of_bytes(sqs_server: SqsServer) -> None:
    """``bulk`` may be larger: SQS is then asked in calls of ten. It takes four times as many bytes as it did."""
    broker = broker_of(name=f"seed-{uuid4().hex[:8]}", sqs=sqs_server.options, bulk=25)
    broker.enqueue([Message(str(number)) for number in range(25)])

    assert sqs.CALL_MESSAGES == 10
    assert len(broker.lease(25, 1)) > 10
    assert 250_000 <= (broker.capabilities.max_payload or 0) <= 1 << 20


# ── orm ──────────────────────────────────────────────────────────────────────────────────────────


def test_orm_names_the_database_in_which_the_queue_is(db: None) -> None:
    broker = broker_of(orm="default")

    assert isinstance(broker, OrmBroker)
    assert broker.database == "default"


def test_with_orm_the_admin_shows_the_queued_tasks(admin_client: Client) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "orm": "default"}):
        async_task(add, 1, 2, task_name="a task that waits")
        page = admin_client.get(reverse("admin:django_cluster_queuedtask_changelist")).content.decode()

    assert "a task that waits" in page


@pytest.mark.django_db(databases="__all__")
def test_the_queue_may_be_in_another_database_that_was_migrated_with_database(
    tmp_path: Path, django_db_blocker: Any
) -> None:
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "queue.sqlite3")}
    with django_db_blocker.unblock(), known_database(entry) as alias:
        call_command("migrate", "django_cluster", database=alias, verbosity=0)
        with override_settings(Q_CLUSTER={"name": "tests", "orm": alias}):
            task_id = async_task(add, 1, 2, q_options={"on_commit": False})
            assert QueuedTask.objects.using(alias).count() == 1
            assert queue_size() == 1
            drain()
            assert result(task_id) == 3


# ── mongo ────────────────────────────────────────────────────────────────────────────────────────


def test_mongo_has_the_connection_of_the_example_and_any_keyword_of_its_client() -> None:
    written = {"host": "127.0.0.1", "port": 27017, "appname": "shop", "serverSelectionTimeoutMS": 7}
    assert errors(mongo=written) == []

    client = MongoConnection(read(mongo=written).broker.options).client

    assert client.options.pool_options.appname == "shop"
    assert client.options.server_selection_timeout == 0.007


@pytest.mark.parametrize(
    ("q_cluster", "database"),
    [
        ({"mongo": {"host": "mongodb://h/shop"}, "mongo_db": "tasks"}, "tasks"),
        ({"mongo": {"host": "mongodb://h/shop"}}, "shop"),
        ({"mongo": {"host": "h"}}, "django-q"),
    ],
)
def test_mongo_db_is_the_database_else_that_of_the_url_else_django_q(q_cluster: Any, database: str) -> None:
    link = MongoConnection(read(**q_cluster).broker.options)

    assert link.collection("messages").database.name == database


# ── broker_class ─────────────────────────────────────────────────────────────────────────────────


class ChildOfRedis(RedisBroker):
    """One of the children of ``Broker``."""


ChildOfBroker: Any = type("ChildOfBroker", (Broker,), dict.fromkeys(Broker.__abstractmethods__))


@pytest.mark.parametrize("name", ["ChildOfRedis", "ChildOfBroker"])
def test_broker_class_is_a_class_of_ones_own_that_inherits_from_broker_or_one_of_its_children(name: str) -> None:
    broker = broker_of(broker_class=f"{__name__}.{name}")

    assert type(broker).__name__ == name
    assert errors(broker_class=f"{__name__}.{name}") == []


def test_a_class_that_inherits_from_neither_is_refused() -> None:
    assert any("not a subclass" in sentence for sentence in errors(broker_class="collections.OrderedDict"))


def test_a_child_of_a_shipped_broker_gets_the_options_of_its_parent() -> None:
    broker = broker_of(broker_class=f"{__name__}.ChildOfRedis", redis={"host": "h.invalid", "port": 7})

    assert isinstance(broker, ChildOfRedis)
    assert broker._connection.address == "h.invalid:7/0"


# ── bulk, poll ───────────────────────────────────────────────────────────────────────────────────


def test_redis_gives_many_messages_a_call_too(redis_server: RedisServer) -> None:
    """There, ``bulk`` is not supported by Redis."""
    broker = broker_of(name=f"seed-{uuid4().hex}", redis=redis_server.url)
    broker.enqueue([Message(str(number)) for number in range(10)])

    assert len(broker.lease(7)) == 7


@pytest.mark.parametrize("q_cluster", [{"orm": "default"}, {"mongo": {"host": "h"}}])
def test_poll_is_the_pause_between_two_looks_at_a_broker_that_cannot_wake_us(q_cluster: Any) -> None:
    assert read(**q_cluster).broker.poll == 0.2
    assert broker_of(**q_cluster, poll=1.5).settings.poll == 1.5
    differs("poll", "waits longer")


# ── cache, cached ────────────────────────────────────────────────────────────────────────────────

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
TWO_CACHES = {name: {"BACKEND": LOCMEM, "LOCATION": f"seed {name}"} for name in ("default", "results")}


def test_the_state_of_clusters_needs_no_cache() -> None:
    differs("cache", "Not needed to see the state of clusters")


@override_settings(CACHES=TWO_CACHES)
def test_cached_keeps_results_in_the_cache_instead_of_the_database(tasks_run: None) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "cached": True, "cache": "results"}):
        task_id = async_task(add, 1, 2)
        drain()

        assert (result(task_id), Task.objects.count()) == (3, 0)
        caches["results"].clear()
        assert result(task_id) is None


@override_settings(CACHES=TWO_CACHES)
def test_cached_is_the_same_as_the_keyword_of_each_function(tasks_run: None) -> None:
    task_id = async_task(add, 1, 2, cached=True)
    drain()

    assert (result(task_id, cached=True), Task.objects.count()) == (3, 0)


@override_settings(CACHES=TWO_CACHES)
def test_cached_may_be_the_seconds_for_which_results_are_kept(tasks_run: None) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "cached": 60}):
        task_id = async_task(add, 1, 2)
        drain()
        assert result(task_id) == 3

        with time_machine.travel(time.time() + 61):
            assert result(task_id) is None


# ── error_reporter ───────────────────────────────────────────────────────────────────────────────


class Ear:
    """A service that hears of errors."""

    heard: ClassVar[list[Any]] = []

    def __init__(self, **options: Any) -> None:
        self.options = options

    def report(self, error: BaseException, package: TaskPackage) -> None:
        self.heard.append((self.options, str(error)))


def test_error_reporters_are_named_with_their_settings_and_hear_of_exceptions() -> None:
    reporters = ErrorReporters(read(error_reporter={f"{__name__}.Ear": {"access_token": "t"}}).reporters)

    reporters.report(ValueError("no luck"), TaskPackage(header=_header()))

    assert Ear.heard == [({"access_token": "t"}, "no luck")]


@pytest.mark.parametrize("name", ["rollbar", "sentry"])
def test_rollbar_and_sentry_are_there_and_take_the_keywords_of_the_example(name: str) -> None:
    options = {"rollbar": {"access_token": "32we33", "environment": "Django-Q"}, "sentry": {"dsn": "http://a@h/1"}}

    assert errors(error_reporter={name: options[name]}) == []
    with override_settings(Q_CLUSTER={"error_reporter": {name: options[name]}}):
        assert "django_cluster.W011" not in [message.id for message in validate_config()]


# ── cpu_affinity ─────────────────────────────────────────────────────────────────────────────────

SHARES = [
    (4, 1, [[0], [1], [2], [3]]),
    (4, 2, [[0, 1], [2, 3], [0, 1], [2, 3]]),
    (8, 3, [[0, 1, 2], [3, 4, 5], [6, 7, 0], [1, 2, 3], [4, 5, 6], [7, 0, 1], [2, 3, 4], [5, 6, 7]]),
]


@pytest.mark.parametrize(("processors", "affinity", "shares"), SHARES)
def test_cpu_affinity_deals_processors_as_the_tables_show(
    processors: int, affinity: int, shares: list[list[int]]
) -> None:
    assert [share_of_cpus(worker, affinity, list(range(processors))) for worker in range(len(shares))] == shares


@pytest.mark.parametrize("affinity", [0, 4, 5])
def test_cpu_affinity_has_an_effect_only_above_zero_and_below_the_number_of_processors(affinity: int) -> None:
    assert share_of_cpus(0, affinity, [0, 1, 2, 3]) == []


def test_cpu_affinity_needs_no_psutil_on_linux_and_is_said_to_have_no_effect_where_nothing_can_do_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("django_cluster.checks.settings.can_pin", lambda: False)
    with override_settings(Q_CLUSTER={"cpu_affinity": 1}):
        assert "django_cluster.W014" in [message.id for message in validate_config()]
    differs("cpu_affinity", "needs no psutil on Linux")


def test_max_rss_is_said_to_have_no_effect_where_nothing_tells_the_memory_of_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("django_cluster.checks.settings.can_measure_memory", lambda: False)
    with override_settings(Q_CLUSTER={"max_rss": 100_000}):
        assert "django_cluster.W014" in [message.id for message in validate_config()]
