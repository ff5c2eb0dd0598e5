"""Every key of Django-Q's ``Q_CLUSTER``, and ``Conf``."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import ERROR
from django.test import override_settings

from django_cluster.checks.settings import validate_config
from django_cluster.core.settings.table import BY_KEY
from tests.datetimes import needs_time_zones
from tests.fields import fields

KEYS: dict[str, tuple[list[Any], str | None]] = {
    "name": (["shop"], "PREFIX"),
    "cluster_name": (["shop"], "CLUSTER_NAME"),
    "ALT_CLUSTERS": ([{"long": {"timeout": 900, "retry": 1000}}], None),
    "log_level": (["INFO", "DEBUG"], "LOG_LEVEL"),
    "workers": ([1, 4], "WORKERS"),
    "daemonize_workers": ([True, False], "DAEMONIZE_WORKERS"),
    "recycle": ([500, 1], "RECYCLE"),
    "max_rss": ([None, 100_000], "MAX_RSS"),
    "timeout": ([None, 60], "TIMEOUT"),
    "retry": ([60, 120], "RETRY"),
    "ack_failures": ([True, False], "ACK_FAILURES"),
    "max_attempts": ([0, 3], "MAX_ATTEMPTS"),
    "queue_limit": ([0, 50], "QUEUE_LIMIT"),
    "bulk": ([1, 10], "BULK"),
    "poll": ([0.2, 1], "POLL"),
    "save_limit": ([250, 0, -1], "SAVE_LIMIT"),
    "save_limit_per": ([None, "group", "name", "func"], "SAVE_LIMIT_PER"),
    "compress": ([True, False], "COMPRESSED"),
    "cached": ([False, True, 3600], "CACHED"),
    "cache": (["default"], "CACHE"),
    "sync": ([False, True], "SYNC"),
    "scheduler": ([True, False], "SCHEDULER"),
    "guard_cycle": ([0.5, 10], "GUARD_CYCLE"),
    "catch_up": ([True, False], "CATCH_UP"),
    "time_zone": (["Europe/Berlin"], "TIME_ZONE"),
    "cpu_affinity": ([0, 1], "CPU_AFFINITY"),
    "label": (["Django Q"], "LABEL"),
    "error_reporter": ([{}, {"sentry": {"dsn": "http://a@localhost/1"}}], "ERROR_REPORTER"),
    "testing": ([False, True], "TESTING"),
    "redis": ([{"host": "127.0.0.1", "port": 6379, "db": 0, "charset": "utf-8"}, "redis://127.0.0.1/0"], "REDIS"),
    "django_redis": (["default"], "DJANGO_REDIS"),
    "orm": (["default"], "ORM"),
    "sqs": ([{}, {"aws_region": "eu-west-1", "receive_message_wait_time_seconds": 20}], "SQS"),
    "mongo": ([{"host": "127.0.0.1", "port": 27017}], "MONGO"),
    "mongo_db": (["tasks"], "MONGO_DB"),
    "iron_mq": ([{"host": "mq", "token": "t", "project_id": "p"}], "IRON_MQ"),
    "broker_class": (["django_cluster.brokers.memory.MemoryBroker"], "BROKER_CLASS"),
}
"""Key → values that Django-Q's documentation shows, and its name in ``Conf``."""


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_known(key: str) -> None:
    assert key in BY_KEY


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, (values, _) in KEYS.items() for value in values])
def test_a_documented_value_is_taken_as_it_is(key: str, value: Any) -> None:
    with override_settings(Q_CLUSTER={key: value}):
        errors = [message.msg for message in validate_config() if message.level >= ERROR]

    assert errors == []


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        pytest.param(key, values[-1], name, marks=needs_time_zones if key == "time_zone" else ())
        for key, (values, name) in KEYS.items()
        if name and values[-1] is not None
    ],
)
def test_conf_says_what_the_settings_say(key: str, value: Any, name: str) -> None:
    from django_q.conf import Conf

    with override_settings(Q_CLUSTER={key: value}):
        assert getattr(Conf, name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREFIX", "default"),
        ("CLUSTER_NAME", "default"),
        ("LOG_LEVEL", "INFO"),
        ("RECYCLE", 500),
        ("RETRY", 60),
        ("SAVE_LIMIT", 250),
        ("TIMEOUT", None),
        ("MAX_ATTEMPTS", 0),
        ("ACK_FAILURES", False),
        ("CACHED", False),
        ("CACHE", "default"),
        ("SYNC", False),
        ("SCHEDULER", True),
        ("CATCH_UP", True),
        ("GUARD_CYCLE", 0.5),
        ("POLL", 0.2),
        ("COMPRESSED", False),
        ("DAEMONIZE_WORKERS", True),
        ("CPU_AFFINITY", 0),
        ("MAX_RSS", None),
        ("SAVE_LIMIT_PER", None),
        ("Q_STAT", "django_q:default:cluster"),
        ("STARTING", "Starting"),
        ("WORKING", "Working"),
        ("IDLE", "Idle"),
        ("STOPPED", "Stopped"),
        ("STOPPING", "Stopping"),
    ],
)
def test_the_defaults_are_django_qs(name: str, value: Any) -> None:
    from django_q.conf import Conf

    with override_settings(Q_CLUSTER={}):
        assert getattr(Conf, name) == value


def test_conf_names_the_number_of_workers_and_the_secret_key() -> None:
    from django_q.conf import Conf

    assert Conf.WORKERS >= 1
    assert Conf.SECRET_KEY == "a key for tests, known to everybody"
    assert {"WORKERS", "REDIS", "IDLE"} <= set(dir(Conf))


def test_what_is_no_setting_cannot_be_set_or_read() -> None:
    from django_q.conf import Conf

    with pytest.raises(AttributeError, match="override_settings"):
        Conf.SECRET_KEY = "another"
    with pytest.raises(AttributeError, match="NOTHING"):
        Conf.NOTHING  # noqa: B018  asking for it is the test
    with pytest.raises(AttributeError, match="no key of Q_CLUSTER"):
        del Conf.NOTHING


def test_the_variable_picks_an_alternative_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_q.conf import Conf

    from django_cluster.conf import forget_settings

    monkeypatch.setenv("Q_CLUSTER_NAME", "long")
    with override_settings(Q_CLUSTER={"name": "site", "timeout": 5, "ALT_CLUSTERS": {"long": {"timeout": 900}}}):
        assert fields(Conf, "PREFIX", "CLUSTER_NAME", "TIMEOUT") == {
            "PREFIX": "site",
            "CLUSTER_NAME": "long",
            "TIMEOUT": 900,
        }
    forget_settings()
