"""Mappings that may be printed."""

from __future__ import annotations

import pickle

import pytest

from django_cluster.core.masking import MaskedMapping, mask_urls, plain


def test_it_reads_like_the_dict_it_was_made_of() -> None:
    masked = MaskedMapping({"a": 1, "b": {"c": [2]}})

    assert masked == {"a": 1, "b": {"c": (2,)}}
    assert dict(**masked["b"]) == {"c": (2,)}
    assert pickle.loads(pickle.dumps(masked)) == masked


def test_it_does_not_follow_changes_of_that_dict() -> None:
    original = {"a": {"b": 1}}
    masked = MaskedMapping(original)

    original["a"]["b"] = 2

    assert masked == {"a": {"b": 1}}


@pytest.mark.parametrize(
    "items",
    [
        {"password": "hush"},
        {"kwargs": {"password": "hush"}},
        {"unheard_of": "hush"},
        {"url": "redis://user:hush@host"},
        {"host": "mongodb://user:hush@host"},
        {"host": "user:hush@host"},
        {"host": ["hush"]},
    ],
)
def test_what_may_be_a_secret_is_masked(items: dict[str, object]) -> None:
    assert "hush" not in f"{MaskedMapping(items)!r} {MaskedMapping(items)}"


def test_what_helps_and_harms_nobody_is_shown() -> None:
    shown = repr(MaskedMapping({"host": "h", "port": 1, "url": "redis://h", "password": None}))

    assert shown == "{'host': 'h', 'port': 1, 'url': 'redis://h', 'password': None}"


def test_libraries_are_given_what_was_written() -> None:
    written = {"socket_keepalive_options": {4: 60}, "tags": ["a", {"b": [1]}], "host": "h"}

    assert plain(MaskedMapping(written)) == written


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6399/3", "redis://127.0.0.1:6399/3"),
        ("redis://:hush@h", "redis://:********@h"),
        ("rediss://user:hush@h:1/0", "rediss://user:********@h:1/0"),
        ("redis://user:hu@s/h?#x@h/0", "redis://user:********@h/0"),
        ("redis://:hush hush'@h", "redis://:********@h"),
        ("https://hush@sentry.example/1", "https://********@sentry.example/1"),
        ("mongodb://a:hush@h1:1,h2:2/db?replicaSet=r", "mongodb://a:********@h1:1,h2:2/db?replicaSet=r"),
        ("redis://h/0?password=hush&db=1", "redis://h/0?password=********&db=1"),
        ("amqp://h:5672/v?mail=a@b", "amqp://h:5672/v?mail=a@b"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ],
)
def test_of_a_url_only_the_credentials_are_masked(url: str, shown: str) -> None:
    assert repr(MaskedMapping({"url": url})) == repr({"url": shown})


def test_urls_inside_a_sentence_are_masked() -> None:
    sentence = "cannot reach redis://u:hush@h:1/0 nor 'amqp://:hush@h2//', but http://h:80/a@b"

    assert mask_urls(sentence) == (
        "cannot reach redis://u:********@h:1/0 nor 'amqp://:********@h2//', but http://h:80/a@b"
    )


def test_servers_in_a_list_are_shown_without_credentials() -> None:
    items = {
        "nodes": ["a:1", "hush@b:2"],
        "sentinels": [["a", 1], ["b", 2]],
        "url": ["amqp://u:hush@a/v", "amqp://b/v"],
        "password": ["hush"],
    }

    assert repr(MaskedMapping(items)) == (
        "{'nodes': ('a:1', '********'), 'sentinels': (('a', 1), ('b', 2)),"
        " 'url': ('amqp://u:********@a/v', 'amqp://b/v'), 'password': '********'}"
    )
