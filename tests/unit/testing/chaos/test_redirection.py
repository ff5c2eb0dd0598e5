"""Where servers are, and settings that find them elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from django_cluster.core.settings import BrokerSettings
from django_cluster.testing.chaos.proxy import UpstreamAddress
from django_cluster.testing.chaos.redirection import redirected, server_of

PLAIN: list[tuple[str, dict[str, Any], UpstreamAddress, dict[str, Any]]] = [
    ("redis", {}, UpstreamAddress("127.0.0.1", 6379), {"kwargs": {"host": "127.0.0.1", "port": 9}}),
    (
        "redis",
        {"url": "redis://u:p@red:7000/3?a=1"},
        UpstreamAddress("red", 7000),
        {"url": "redis://u:p@127.0.0.1:9/3?a=1"},
    ),
    (
        "redis",
        {"kwargs": {"host": "red", "db": 2}},
        UpstreamAddress("red", 6379),
        {"kwargs": {"host": "127.0.0.1", "db": 2, "port": 9}},
    ),
    ("rabbitmq", {"url": "amqp://u:p@hop/v"}, UpstreamAddress("hop", 5672), {"url": "amqp://u:p@127.0.0.1:9/v"}),
    ("rabbitmq", {"host": "hop", "port": 7}, UpstreamAddress("hop", 7), {"host": "127.0.0.1", "port": 9}),
    (
        "mongo",
        {"kwargs": {"host": "mongodb://m:7/x"}},
        UpstreamAddress("m", 7),
        {"kwargs": {"host": "mongodb://127.0.0.1:9/x"}},
    ),
    (
        "mongo",
        {"kwargs": {"host": "m", "port": 7}},
        UpstreamAddress("m", 7),
        {"kwargs": {"host": "127.0.0.1", "port": 9}},
    ),
    ("sqs", {"endpoint_url": "http://q:7"}, UpstreamAddress("q", 7), {"endpoint_url": "http://127.0.0.1:9"}),
    (
        "iron_mq",
        {"protocol": "http", "host": "i", "port": 7, "token": "t"},
        UpstreamAddress("i", 7),
        {"protocol": "http", "host": "127.0.0.1", "port": 9, "token": "t"},
    ),
    (
        "disque",
        {"nodes": ("d:7",), "password": "p"},
        UpstreamAddress("d", 7),
        {"nodes": ("127.0.0.1:9",), "password": "p"},
    ),
]


@pytest.mark.parametrize(("kind", "options", "address", "moved"), PLAIN)
def test_one_server_at_a_plain_address_can_be_found_elsewhere(
    kind: str, options: dict[str, Any], address: UpstreamAddress, moved: dict[str, Any]
) -> None:
    section = BrokerSettings(kind=kind, options=options)

    assert server_of(section) == address
    assert redirected(section, 9).options == moved
    assert server_of(redirected(section, 9)) == UpstreamAddress("127.0.0.1", 9)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("orm", {"alias": "default"}),
        ("redis", {"url": "rediss://red"}),
        ("redis", {"url": "unix:///run/redis"}),
        ("redis", {"kwargs": {"ssl": True}}),
        ("redis", {"sentinels": [("a", 1)], "master": "m"}),
        ("redis", {"nodes": [("a", 1)]}),
        ("redis", {"cache": "default"}),
        ("rabbitmq", {"url": "amqps://hop"}),
        ("rabbitmq", {"url": ["amqp://one", "amqp://two"]}),
        ("mongo", {"kwargs": {"host": "mongodb+srv://m"}}),
        ("mongo", {"kwargs": {"host": "mongodb://a:1,b:2"}}),
        ("mongo", {"kwargs": {"host": "m", "tls": True}}),
        ("sqs", {"aws_region": "eu-west-1"}),
        ("sqs", {"endpoint_url": "https://q"}),
        ("iron_mq", {"token": "t"}),
        ("disque", {"nodes": ("a:1", "b:2")}),
        ("my.own.Broker", {}),
    ],
)
def test_before_what_is_no_single_plain_server_the_proxy_cannot_stand(kind: str, options: dict[str, Any]) -> None:
    assert server_of(BrokerSettings(kind=kind, options=options)) is None
