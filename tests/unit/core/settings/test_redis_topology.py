"""Redis of one server, under Sentinels, as a Cluster: however it is written, it has one normal form."""

from __future__ import annotations

from typing import Any

import pytest
from redis.cluster import ClusterNode

from django_cluster.core.settings.redis_topology import normalized
from django_cluster.core.settings.values import InvalidValue


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({}, {}),
        ({"url": "redis://h/1"}, {"url": "redis://h/1"}),
        ({"kwargs": {"host": "h"}}, {"kwargs": {"host": "h"}}),
        (
            {"url": "redis+sentinel://a,b:26380/orders/2?socket_timeout=3"},
            {
                "sentinels": (("a", 26379), ("b", 26380)),
                "master": "orders",
                "url": "redis://a:26379/2?socket_timeout=3",
            },
        ),
        (
            {"url": "rediss+sentinel://someone:s%40cret@[::1]/orders"},
            {"sentinels": (("::1", 26379),), "master": "orders", "url": "rediss://someone:s%40cret@[::1]:26379"},
        ),
        (
            {"kwargs": {"sentinels": [("a", 1), "b:2", {"host": "c"}], "sentinel_master": "orders", "db": 1}},
            {"sentinels": (("a", 1), ("b", 2), ("c", 26379)), "master": "orders", "kwargs": {"db": 1}},
        ),
        ({"kwargs": {"sentinels": "a,b", "master": "m"}}, {"sentinels": (("a", 26379), ("b", 26379)), "master": "m"}),
        ({"url": "redis+cluster://a:7000,b"}, {"nodes": (("a", 7000), ("b", 6379)), "url": "redis://a:7000"}),
        ({"kwargs": {"cluster": True}}, {"nodes": (("localhost", 6379),)}),
        ({"kwargs": {"cluster": ["h:7000"]}}, {"nodes": (("h", 7000),)}),
        ({"kwargs": {"cluster": "h:7000,i", "port": 1}}, {"nodes": (("h", 7000), ("i", 6379)), "kwargs": {"port": 1}}),
        ({"kwargs": {"cluster": {"host": "h", "port": 7000}}}, {"nodes": (("h", 7000),)}),
        (
            {"kwargs": {"startup_nodes": [ClusterNode("h", 7000)]}},  # type: ignore[no-untyped-call]
            {"nodes": (("h", 7000),)},
        ),
        ({"kwargs": {"cluster": False, "host": "a"}}, {"kwargs": {"host": "a"}}),
        ({"kwargs": {"sentinels": ["s"], "service_name": "m"}}, {"sentinels": (("s", 26379),), "master": "m"}),
        (
            {"kwargs": {"cluster": True, "host": "a", "port": 1, "ssl": True}},
            {"nodes": (("a", 1),), "kwargs": {"ssl": True}},
        ),
        ({"kwargs": {"nodes": ["a:1"], "password": "x"}}, {"nodes": (("a", 1),), "kwargs": {"password": "x"}}),
    ],
)
def test_every_way_of_writing_has_one_normal_form(written: dict[str, Any], meant: dict[str, Any]) -> None:
    assert normalized(written) == meant


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"kwargs": {"sentinels": ["a"]}}, "not their 'master'"),
        ({"kwargs": {"master": "m"}}, "no 'sentinels'"),
        ({"url": "redis+sentinel://a"}, "not of the form"),
        ({"url": "redis+sentinel://a/m/0/x"}, "not of the form"),
        ({"url": "redis+sentinel://a:b/m"}, "no 'host:port'"),
        ({"url": "redis+sentinel:///m"}, "without a host"),
        ({"url": "redis+cluster://a/3"}, "only number 0"),
        ({"kwargs": {"cluster": True, "db": 2}}, "only number 0"),
        ({"url": "redis+cluster://a", "kwargs": {"sentinels": ["b"], "master": "m"}}, "choose one"),
        ({"kwargs": {"sentinels": 7, "master": "m"}}, "a list"),
        ({"kwargs": {"nodes": [("a", "b", "c")]}}, "no 'host:port'"),
        ({"kwargs": {"port": "x"}}, "a port that is no number: 'x'"),
        ({"kwargs": {"host": "a", "socket_timeout": [5]}}, "a socket_timeout that is no number"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_reason(written: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        normalized(written)


def test_what_was_written_stays_as_it_was() -> None:
    written = {"kwargs": {"sentinels": ["a"], "master": "m"}}

    normalized(written)

    assert written == {"kwargs": {"sentinels": ["a"], "master": "m"}}
