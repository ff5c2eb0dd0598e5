"""The parts of the Redis broker that need no server."""

from __future__ import annotations

import ssl
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import cluster

from django_cluster.brokers import redis_clients
from django_cluster.brokers.messages import Message
from django_cluster.brokers.redis import RedisBroker
from django_cluster.brokers.redis_clients import build_client, build_cluster
from django_cluster.brokers.redis_cluster_connection import open_connection
from django_cluster.brokers.redis_configuration import configuration_warnings
from django_cluster.brokers.redis_connection import MAX_BLOCK_SECONDS, RedisConnection
from django_cluster.brokers.redis_entries import MAX_CALL_MESSAGES, enqueue_calls, parse_entry
from django_cluster.core.masking import MaskedMapping
from django_cluster.core.settings import BrokerSettings
from django_cluster.core.settings.parser import parse
from django_cluster.core.settings.redis_topology import normalized


@given(st.binary())
def test_any_bytes_can_be_read_as_an_entry(raw: bytes) -> None:
    _, attempts, payload = parse_entry(raw)

    assert attempts >= 0
    assert payload.isascii()


def test_an_entry_is_priority_attempts_and_payload() -> None:
    assert parse_entry(b"-7:2:a:b") == (-7, 2, "a:b")


@pytest.mark.parametrize("raw", [b"", b"payload", b"1:payload", b"x:1:payload", b"1:" + b"9" * 5000 + b":payload"])
def test_what_is_not_an_entry_is_all_payload(raw: bytes) -> None:
    assert parse_entry(raw) == (0, 0, raw.decode())


def test_foreign_bytes_are_shown_and_not_lost() -> None:
    assert parse_entry(b"0:0:\xff\x00") == (0, 0, "\\xff\x00")


def test_messages_of_one_priority_are_one_call() -> None:
    assert list(enqueue_calls([Message("a"), Message("b")])) == [["0", "0:0:a", "0:0:b"]]


def test_priorities_and_delays_have_calls_of_their_own() -> None:
    due = time.time() + 60

    calls = list(enqueue_calls([Message("a"), Message("b", 5), Message("c", 0, due), Message("d")]))

    assert calls == [["0", "0:0:a", "0:0:d"], ["5", "5:0:b"], ["", str(-int(-due * 1000 // 1)), "0:0:c"]]


def test_many_messages_are_several_calls_in_their_order() -> None:
    calls = list(enqueue_calls([Message(str(number)) for number in range(2 * MAX_CALL_MESSAGES + 1)]))

    assert [len(call) - 1 for call in calls] == [MAX_CALL_MESSAGES, MAX_CALL_MESSAGES, 1]
    assert calls[1][1] == f"0:0:{MAX_CALL_MESSAGES}"


def test_where_the_user_says_nothing_every_wait_has_an_end() -> None:
    keywords = build_client({}).connection_pool.connection_kwargs

    assert keywords["socket_connect_timeout"] == 3
    assert keywords["socket_timeout"] == 5
    assert keywords["health_check_interval"] == 30
    assert keywords["socket_keepalive"] is True


@pytest.mark.parametrize(
    "options",
    [
        {"kwargs": {"socket_timeout": 60, "decode_responses": True}},
        {"url": "redis://localhost/2?socket_timeout=60"},
        {"url": "redis://localhost", "kwargs": {"socket_timeout": 60}},
    ],
)
def test_what_the_user_says_wins(options: dict[str, Any]) -> None:
    keywords = build_client(options).connection_pool.connection_kwargs

    assert keywords["socket_timeout"] == 60
    assert not keywords.get("decode_responses")


def fail_to_look_up(name: str) -> str:
    raise AssertionError(f"The metadata of {name} was read.")


@pytest.mark.parametrize("url", ["redis://nobody.invalid:1", "redis+sentinel://a/orders"])
def test_a_connection_does_not_look_up_what_the_library_is_called(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That reads a file, and imports what reads mails."""
    pytest.importorskip("redis.driver_info", reason="an older redis-py cannot be told")
    monkeypatch.setattr("importlib.metadata.version", fail_to_look_up)

    pool: Any = build_client(normalized({"url": url})).connection_pool
    sentinels = pool.sentinel_manager.sentinels if "sentinel" in url else []

    for each in (pool, *(sentinel.connection_pool for sentinel in sentinels)):
        each.make_connection()


@pytest.mark.parametrize(
    "options",
    [{"url": "redis://localhost?lib_name=ours"}, {"url": "redis://localhost", "kwargs": {"lib_name": "ours"}}],
)
@pytest.mark.filterwarnings("ignore:.*lib_name:DeprecationWarning")
def test_the_user_may_call_the_library_otherwise(options: dict[str, Any]) -> None:
    keywords = build_client(options).connection_pool.connection_kwargs

    assert keywords["lib_name"] == "ours"
    assert "driver_info" not in keywords


@pytest.mark.parametrize("limit", [0.1, 1, 5, 60])
def test_a_blocking_call_ends_before_the_socket_times_out(limit: float) -> None:
    assert 0 < RedisConnection({"kwargs": {"socket_timeout": limit}}).max_block < limit


def test_no_secret_shows_in_what_people_see() -> None:
    section = BrokerSettings(kind="redis", options={"url": "redis://someone:s3cret@example.test:7000/3"})
    broker = RedisBroker(section)

    assert "s3cret" not in f"{section!r} {broker!r} {RedisConnection(section.options).address}"
    assert RedisConnection(section.options).address == "example.test:7000/3"


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ({}, []),
        ({"maxmemory-policy": "allkeys-lru", "maxmemory": "0", "appendonly": "yes", "save": ""}, []),
        ({"maxmemory-policy": "noeviction", "maxmemory": "1", "appendonly": "no", "save": "3600 1"}, []),
        ({"maxmemory-policy": "allkeys-lru", "maxmemory": "1", "appendonly": "yes"}, ["allkeys-lru"]),
        ({"maxmemory-policy": "noeviction", "appendonly": "no", "save": ""}, ["nothing on disk"]),
    ],
)
def test_a_server_that_may_forget_is_a_concern(configuration: dict[str, str], words: list[str]) -> None:
    found = configuration_warnings(configuration)

    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


def test_no_secret_of_sentinels_shows_either() -> None:
    options = normalized({"url": "redis+sentinel://u:s3cret@a/orders", "kwargs": {"sentinel_password": "s3cret"}})
    section = BrokerSettings(kind="redis", options=MaskedMapping(options))

    assert "s3cret" not in f"{section!r} {section.options!r} {open_connection(options).address}"
    assert open_connection(options).address == "orders of the Sentinels a:26379"


def test_sentinels_have_passwords_of_their_own() -> None:
    options = normalized(
        {"url": "rediss+sentinel://u:p@a/orders/3", "kwargs": {"sentinel_password": "q", "ssl_cert_reqs": "none"}}
    )

    pool: Any = build_client(options).connection_pool

    server, sentinel = pool.connection_kwargs, pool.sentinel_manager.sentinels[0].connection_pool.connection_kwargs
    assert (server["username"], server["password"], server["db"]) == ("u", "p", 3)
    assert (sentinel["password"], sentinel.get("username")) == ("q", None)
    assert "ssl_cert_reqs" in sentinel
    assert sentinel["socket_timeout"] < server["socket_timeout"]


TLS = [
    {"url": "rediss://h:1"},
    {"kwargs": {"ssl": True}},
    {"url": "rediss://h", "kwargs": {"ssl_cert_reqs": "required"}},
]


@pytest.mark.parametrize("options", TLS)
def test_the_certificate_of_another_host_is_refused_whatever_redis_py_does_by_itself(options: dict[str, Any]) -> None:
    pool = build_client(options).connection_pool

    assert pool.connection_kwargs["ssl_check_hostname"] is True
    assert pool.connection_class(**pool.connection_kwargs).check_hostname is True


@pytest.mark.parametrize(
    "options",
    [
        {"url": "rediss://h:1?ssl_check_hostname=false"},
        {"url": "rediss://h:1", "kwargs": {"ssl_check_hostname": False}},
        {"kwargs": {"ssl": True, "ssl_check_hostname": False}},
        {"url": "rediss://h:1?ssl_cert_reqs=none"},
        {"kwargs": {"ssl": True, "ssl_cert_reqs": None}},
        {"kwargs": {"ssl": True, "ssl_cert_reqs": ssl.CERT_NONE}},
    ],
)
def test_a_project_may_do_without_that_check(options: dict[str, Any]) -> None:
    pool = build_client(options).connection_pool

    assert not pool.connection_class(**pool.connection_kwargs).check_hostname


def test_sentinels_and_the_server_that_they_name_are_checked_likewise() -> None:
    pool: Any = build_client(normalized({"url": "rediss+sentinel://a/orders"})).connection_pool
    sentinel = pool.sentinel_manager.sentinels[0].connection_pool.connection_kwargs

    assert (pool.connection_kwargs["ssl_check_hostname"], sentinel["ssl_check_hostname"]) == (True, True)


def test_nodes_of_a_cluster_are_checked_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(redis_clients, "DirectCluster", lambda **keywords: told.update(keywords))
    # As in redis-py before version 6, which drops the keyword on the way to the nodes.
    monkeypatch.setattr(cluster, "REDIS_ALLOWED_KEYS", ("ssl", "ssl_cert_reqs"))

    build_cluster(normalized({"url": "rediss+cluster://a:7000"}))

    assert told["ssl_check_hostname"] is True
    assert cluster.cleanup_kwargs(**told)["ssl_check_hostname"] is True  # type: ignore[no-untyped-call]


def test_no_time_out_is_none_where_the_project_says_so() -> None:
    section = parse({"redis": {"host": "h", "socket_timeout": None, "password": None}}, secret="s").broker

    keywords = build_client(section.options).connection_pool.connection_kwargs

    assert keywords["socket_timeout"] is None
    assert keywords["socket_connect_timeout"] == 3
    assert RedisConnection(section.options).max_block == MAX_BLOCK_SECONDS
    assert keywords["socket_keepalive_options"]


@pytest.mark.parametrize(
    ("options", "near"),
    [
        ({"kwargs": {"hots": "h"}}, {"hots": "host"}),
        ({"url": "redis://h", "kwargs": {"soket_timeout": 1}}, {"soket_timeout": "socket_timeout"}),
        ({"url": "rediss://h", "kwargs": {"ssl_ca_crts": "x"}}, {"ssl_ca_crts": "ssl_ca_certs"}),
        (
            {"sentinels": (("a", 1),), "master": "m", "kwargs": {"sentinel_pasword": "x"}},
            {"sentinel_pasword": "sentinel_password"},
        ),
        (
            {"nodes": (("a", 1),), "kwargs": {"read_from_replica": True, "username": "u", "ssl_ca_path": "/"}},
            {"read_from_replica": "read_from_replicas"},
        ),
        ({"url": "redis://h", "kwargs": {"health_check_interval": 5, "ssl_min_version": 1, "db": 1}}, {}),
        ({"nodes": (("a", 1),), "kwargs": {"require_full_coverage": True, "socket_timeout": 1, "ssl": True}}, {}),
        ({"sentinels": (("a", 1),), "master": "m", "kwargs": {"min_other_sentinels": 1, "db": 2}}, {}),
    ],
)
def test_an_unknown_keyword_is_found_in_every_topology(options: dict[str, Any], near: dict[str, str]) -> None:
    assert redis_clients.unknown_keywords(options) == near
