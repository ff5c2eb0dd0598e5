"""``manage.py check`` says what is wrong with the settings."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import WARNING, run_checks
from django.test import override_settings

from django_cluster import conf
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.checks import django_q
from django_cluster.checks import settings as settings_checks
from django_cluster.checks.databases import check_sqlite
from django_cluster.checks.django_q import check_differences
from django_cluster.checks.settings import validate_config
from django_cluster.cluster.bootstrap import host
from django_cluster.schedules import declarations

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
REDIS_CACHE = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:6379/1"}


@pytest.fixture(autouse=True)
def no_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests declare is no problem here."""
    monkeypatch.setattr(declarations, "_tasks", set())


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variables of the person who runs the tests, and no Django-Q, though tests have it installed."""
    monkeypatch.delenv("Q_CLUSTER_NAME", raising=False)
    monkeypatch.setattr(django_q, "knows_django_q", lambda: False)


def found(q_cluster: Any, **settings: Any) -> list[str]:
    with override_settings(Q_CLUSTER=q_cluster, **settings):
        return [str(message.id).removeprefix("django_cluster.") for message in validate_config()]


def test_default_settings_give_no_warning() -> None:
    assert found({}) == []


SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}
WAITING = {"transaction_mode": "IMMEDIATE", "timeout": 20}


@pytest.mark.parametrize(
    ("database", "lacking"),
    [
        (SQLITE, ["'transaction_mode' and 'timeout'"]),
        ({**SQLITE, "OPTIONS": {"timeout": 20}}, ["'transaction_mode'"]),
        ({**SQLITE, "OPTIONS": {"transaction_mode": "IMMEDIATE"}}, ["'timeout'"]),
        ({**SQLITE, "ENGINE": "django.contrib.gis.db.backends.spatialite"}, ["'transaction_mode' and 'timeout'"]),
        ({**SQLITE, "OPTIONS": WAITING}, []),
        ({**SQLITE, "OPTIONS": {"transaction_mode": "DEFERRED", "timeout": 5}}, []),  # somebody has thought of it
        ({**SQLITE, "NAME": ":memory:"}, []),
        ({**SQLITE, "NAME": "file:places.sqlite3?mode=ro"}, []),
        ({"ENGINE": "django.db.backends.postgresql", "NAME": "site"}, []),
    ],
)
def test_sqlite_without_the_options_that_let_its_processes_wait_is_a_warning(
    database: dict[str, Any], lacking: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conf, "databases", lambda: {"default": database})

    messages = check_sqlite()

    assert [message.id for message in messages] == ["django_cluster.W013"] * len(lacking)
    for message, options in zip(messages, lacking, strict=True):
        assert message.msg == f"The database 'default' is SQLite, and its OPTIONS lack {options}."
        assert message.hint is not None
        assert str(WAITING).replace("'", '"') in message.hint


def test_django_runs_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "databases", lambda: {"default": {**SQLITE, "OPTIONS": WAITING}})

    with override_settings(Q_CLUSTER={"workers": -1}):
        (message,) = run_checks(tags=["django_cluster"])

    assert message.id == "django_cluster.E003"
    assert message.is_serious()
    assert "workers must be" in message.msg


def test_every_problem_is_shown_with_its_hint() -> None:
    with override_settings(Q_CLUSTER={"wrokers": 1, "retry": -1, "workers": 9999}):
        messages = validate_config()

    assert [message.id for message in messages] == [f"django_cluster.{name}" for name in ("E002", "E003", "W005")]
    assert messages[0].hint == "Did you mean 'workers'?"
    assert not messages[2].is_serious()


def test_alternative_clusters_are_checked_too_and_nothing_is_said_twice() -> None:
    written = {"recycle": -1, "ALT_CLUSTERS": {"a": {"timeout": 0}, "b": {"workers": 0}}}

    assert found(written) == ["E003"] * 3


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"sqs": {"aws_region": 5}}, "sqs: aws_region must be text, not int."),
        ({"sqs": {"aws_region": "eu", "queue_attributes": 5}}, "sqs: queue_attributes must be a dict, not int."),
        ({"rabbitmq": {"url": 5}}, "rabbitmq: url must be text, or a list of texts."),
        ({"rabbitmq": {"host": 5}}, "rabbitmq: host must be text, not int."),
        ({"mongo": {"host": 5}}, "mongo: host must be text, or a list of texts."),
        ({"mongo": {"host": [5]}}, "mongo: host must be text, or a list of texts."),
        ({"redis": {"host": 5}}, "redis has a host that is no text."),
    ],
)
def test_a_value_of_another_type_inside_the_options_of_a_broker_is_named(mapping: dict[str, Any], words: str) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", **mapping}):
        (message,) = validate_config()

    assert message.id == "django_cluster.E003"
    assert message.msg == f"Q_CLUSTER: {words}"


@pytest.mark.parametrize(
    ("written", "key", "near"),
    [
        ({"sqs": {"regon": "eu"}}, "regon", "aws_region"),
        ({"sqs": {"queue_attributes": {"VisibiltyTimeout": 60}}}, "VisibiltyTimeout", "VisibilityTimeout"),
        ({"iron_mq": {"project_id": "p", "tokn": "t"}}, "tokn", "token"),
        ({"rabbitmq": {"hostt": "h"}}, "hostt", "host"),
        ({"rabbitmq": "amqp://h/?heartbeet=5"}, "heartbeet in the URL", "heartbeat"),
        ({"rabbitmq": {"ssl": {"ca_cert": "f"}}}, "ca_cert", "ca_certs"),
        ({"mongo": {"hots": "h"}}, "hots", "host"),
        ({"mongo": {"serverSelectionTimoutMS": 5}}, "serverSelectionTimoutMS", "serverselectiontimeoutms"),
        ({"mongo": "mongodb://h/?replicaSett=r"}, "replicasett in the URL", "replicaset"),
        ({"brokers": {"eu": {"sqs": {"regon": "eu"}}}, "orm": "default"}, "regon", "aws_region"),
        ({"orm": "default", "ALT_CLUSTERS": {"mail": {"sqs": {"regon": "eu"}}}}, "regon", "aws_region"),
    ],
)
def test_a_misspelt_key_inside_the_options_of_a_broker_is_named_with_the_nearest(
    written: dict[str, Any], key: str, near: str
) -> None:
    with override_settings(Q_CLUSTER=written):
        messages = [message for message in validate_config() if message.is_serious()]

    assert [message.id for message in messages] == ["django_cluster.E002"]
    assert f"{key} is not known (did you mean {near!r}?)" in messages[0].msg


@pytest.mark.parametrize(
    "written",
    [
        {"sqs": {"endpoint_url": "here"}},
        {"iron_mq": {"host": "h"}},
        {"rabbitmq": {"queue_type": "stream"}},
        {"disque_nodes": ["h:seven"]},
    ],
)
def test_options_with_which_no_process_could_open_the_broker_are_an_error(written: dict[str, Any]) -> None:
    assert found(written) == ["E003"]


@pytest.mark.parametrize(
    "written",
    [
        {"sqs": {"aws_region": "eu-west-1", "queue_attributes": {"VisibilityTimeout": 60}}},
        {"iron_mq": {"project_id": "p", "token": "t"}},
        {"rabbitmq": "amqp://guest:guest@h:5672/?heartbeat=5"},
        {"mongo": {"host": "mongodb://h/?replicaSet=r", "serverSelectionTimeoutMS": 5, "tz_aware": True}},
        {"disque_nodes": ["h:7711"]},
    ],
)
def test_options_that_are_known_give_no_warning(written: dict[str, Any]) -> None:
    assert found(written) == []


def test_a_missing_secret_key_is_left_to_djangos_own_check() -> None:
    assert found({}, SECRET_KEY="") == []


@pytest.mark.parametrize(
    ("q_cluster", "expected"),
    [
        ({"orm": "elsewhere"}, ["E009"]),
        ({"results_db": "elsewhere"}, ["E009"]),
        ({"django_redis": "elsewhere"}, ["E010"]),
        ({"cache": "elsewhere"}, ["E010"]),
        ({"brokers": {"audit": {"orm": "elsewhere"}, "fast": {"django_redis": "elsewhere"}}}, ["E009", "E010"]),
        ({"ALT_CLUSTERS": {"long": {"orm": "elsewhere"}, "quick": {"django_redis": "elsewhere"}}}, ["E009", "E010"]),
    ],
)
def test_unknown_aliases_are_errors(q_cluster: Any, expected: list[str]) -> None:
    assert found(q_cluster) == expected


def test_a_reporter_that_no_package_offers_is_named() -> None:
    with override_settings(Q_CLUSTER={"error_reporter": {"sentri": {}, "sentry": {}, "shop.reports.Own": {}}}):
        (said,) = validate_config()

    assert (said.id, said.hint) == ("django_cluster.W011", "Did you mean 'sentry'?")
    assert not said.is_serious()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{MemoryBroker.__module__}.{MemoryBroker.__qualname__}", []),
        ("no.such.Broker", ["E011"]),
        ("decimal.Decimal", ["E011"]),
        ("decimal.Nothing", ["E011"]),
    ],
)
def test_a_broker_class_must_be_a_broker(path: str, expected: list[str]) -> None:
    assert found({"broker_class": path}) == expected


@pytest.mark.parametrize(
    ("q_cluster", "expected"),
    [
        ({"redis": {"host": "redis.example"}}, ["W003"]),
        ({"redis": "rediss://redis.example"}, ["W003"]),
        ({"redis": {"host": "redis.example"}, "name": "shop"}, []),
        ({"redis": {}}, []),
        ({"redis": {"unix_socket_path": "/run/redis.sock"}}, []),
        ({"redis": "unix:///run/redis.sock?db=2"}, []),
        ({"redis": "redis://[::1]:6380"}, []),
        ({"redis": {"host": "localhost", "port": "odd"}}, ["E003"]),
    ],
)
def test_the_name_default_on_another_machine_is_a_warning(q_cluster: Any, expected: list[str]) -> None:
    assert found(q_cluster) == expected


@pytest.mark.parametrize(
    ("q_cluster", "expected"),
    [
        ({"redis": {"host": "127.0.0.1", "db": 1}}, ["W007"]),
        ({"redis": "redis://127.0.0.1/1"}, ["W007"]),
        ({"django_redis": "fast"}, ["W007"]),
        ({"redis": "redis://127.0.0.1/2"}, []),
        ({"redis": "redis://127.0.0.1:6380/1"}, []),
        ({"orm": "default"}, []),
    ],
)
def test_a_cache_in_the_redis_database_of_the_queue_is_a_warning(q_cluster: Any, expected: list[str]) -> None:
    assert found(q_cluster, CACHES={"default": LOCMEM, "fast": REDIS_CACHE}) == expected


@pytest.mark.parametrize(
    ("q_cluster", "expected"),
    [
        ({"cached": True}, ["W012"]),
        ({"cached": 60, "cache": "none"}, ["W012"]),
        ({"cached": True, "cache": "fast"}, []),
        ({"cached": True, "sync": True}, []),
        ({"cached": False}, []),
    ],
    ids=str,
)
def test_results_in_a_cache_that_no_two_processes_share_are_a_warning(q_cluster: Any, expected: list[str]) -> None:
    none = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}

    assert found(q_cluster, CACHES={"default": LOCMEM, "fast": REDIS_CACHE, "none": none}) == expected


def test_settings_of_any_shape_are_checked_without_a_crash() -> None:
    assert found(None) == ["E001"]
    assert found({"ALT_CLUSTERS": {1: {}, "a": 2}}) == ["E003"]


def test_no_database_is_opened() -> None:
    # pytest-django fails a test that touches a database without the mark for it.
    assert found({"orm": "default", "results_db": "default"}) == []


# ── projects that come from Django-Q ─────────────────────────────────────────────────────────────


def differing(q_cluster: Any) -> list[tuple[str, str]]:
    with override_settings(Q_CLUSTER=q_cluster):
        return [(str(message.id).removeprefix("django_cluster."), message.msg) for message in check_differences()]


def explained(q_cluster: Any, **settings: Any) -> list[tuple[str, str]]:
    with override_settings(Q_CLUSTER=q_cluster, **settings):
        return [(str(message.id).removeprefix("django_cluster."), message.msg) for message in validate_config()]


@pytest.fixture
def _from_django_q(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_q, "knows_django_q", lambda: True)


@pytest.mark.usefixtures("_from_django_q")
def test_keys_that_mean_something_else_are_explained_to_those_who_come_from_django_q() -> None:
    found = differing({"name": "shop", "retry": 90, "bulk": 10, "retry_delay": 5})

    assert [kind for kind, _ in found] == ["I001"] * 3
    assert any("retry is not quite Django-Q's. Need not be longer than `timeout`" in said for _, said in found)
    assert not any("retry_delay" in said for _, said in found)


@pytest.mark.usefixtures("_from_django_q")
def test_where_only_the_default_differs_nothing_is_said_to_those_who_set_the_key() -> None:
    assert differing({"orm": "default", "label": "Tasks"}) == []


@pytest.mark.django_db  # Django's own checks ask what the database can do
@pytest.mark.usefixtures("_from_django_q")
def test_explanations_are_only_given_to_those_who_ask_for_them() -> None:
    mine = {"name": "shop", "orm": "default"}
    with override_settings(Q_CLUSTER=mine):
        assert not [message for message in run_checks() if message.id == "django_cluster.I001"]
        (asked,) = run_checks(tags=["django_q"], include_deployment_checks=True)

    assert asked.id == "django_cluster.I001"


class Forgetful(MemoryBroker):
    """A broker whose server is set up badly."""

    def warnings(self) -> list[str]:
        return ["It forgets."]


@pytest.mark.django_db
def test_before_a_deployment_every_broker_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "databases", lambda: {"default": {**SQLITE, "OPTIONS": WAITING}})
    forgetful = {"broker_class": f"{__name__}.Forgetful"}
    written = {"name": "shop", "brokers": {"default": forgetful, "other": forgetful, "sound": {"broker": "memory"}}}
    with override_settings(Q_CLUSTER=written):
        assert run_checks(tags=["django_cluster"]) == []
        said = run_checks(tags=["django_cluster"], include_deployment_checks=True)

    assert [(each.id, each.msg) for each in said if each.is_serious(WARNING)] == [
        ("django_cluster.W010", "Q_CLUSTER: It forgets.")
    ]
    fine = [each.msg for each in said if each.id == "django_cluster.I002"]
    assert "Q_CLUSTER: The broker 'sound' (memory) answers: Memory of this process." in fine
    assert "Q_CLUSTER: The database 'default' answers and has the tables." in fine


def test_nothing_is_explained_where_django_q_was_never_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_q, "knows_django_q", lambda: False)

    assert differing({"name": "shop", "retry": 90}) == []


@pytest.mark.usefixtures("_from_django_q")
def test_those_who_relied_on_redis_as_the_default_are_warned() -> None:
    assert [kind for kind, _ in explained({"compress": False})] == ["W008"]
    assert explained({"redis": {}}) == []


@pytest.mark.usefixtures("_from_django_q")
def test_both_apps_at_once_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: name == "django_q")

    assert ("W009", "Q_CLUSTER: django_q and django_cluster are both installed apps.") in explained({"orm": "default"})


@pytest.mark.parametrize(
    ("redis", "hints"),
    [
        ({"hots": "localhost"}, ["Did you mean 'host'?"]),
        ({"host": "localhost", "zzzzzz": 1}, [None]),
        ({"host": "localhost", "charset": "utf-8", "errors": "strict", "socket_timeout": 3, "ssl_ca_certs": "x"}, []),
        ({"url": "redis://localhost", "max_connections": 3}, []),
        ({"url": "redis://localhost", "max_conections": 3}, ["Did you mean 'max_connections'?"]),
        ({"sentinels": ["localhost"], "master": "m", "sentinel_pasword": "x"}, ["Did you mean 'sentinel_password'?"]),
        ({"sentinels": ["localhost"], "master": "m", "sentinel_password": "x"}, []),
        ({"nodes": ["localhost"], "read_from_replicas": True}, []),
    ],
    ids=str,
)
def test_a_keyword_that_redis_does_not_know_is_an_error(redis: Any, hints: list[str | None]) -> None:
    with override_settings(Q_CLUSTER={"redis": redis}):
        messages = validate_config()

    assert [(message.id, message.hint) for message in messages] == [("django_cluster.E002", hint) for hint in hints]


def test_a_limit_that_nobody_could_keep_on_this_system_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"max_rss": 100_000, "max_rss_kill": 200_000, "cpu_affinity": 1}
    assert found(wanted) == []

    monkeypatch.setattr(settings_checks, "can_measure_memory", lambda: False)
    monkeypatch.setattr(settings_checks, "can_pin", lambda: False)

    with override_settings(Q_CLUSTER=wanted):
        messages = validate_config()
    assert [message.id for message in messages] == ["django_cluster.W014"] * 3
    assert [message.msg.split()[1] for message in messages] == list(wanted)
    assert found({}) == []


def test_what_a_system_without_proc_tells_depends_on_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError

    monkeypatch.setattr(host, "open", fail, raising=False)
    assert host.can_measure_memory()  # psutil, which tests have
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert not host.can_measure_memory()
    assert host.can_pin() is hasattr(os, "sched_setaffinity")
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    assert not host.can_pin()
