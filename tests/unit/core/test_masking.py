"""Mappings that may be printed."""

from __future__ import annotations

import pickle

import pytest

from django_cluster.core.masking import MaskedMapping, plain


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

    assert shown == "{'host': 'h', 'port': 1, 'url': 'redis://********', 'password': None}"


def test_libraries_are_given_what_was_written() -> None:
    written = {"socket_keepalive_options": {4: 60}, "tags": ["a", {"b": [1]}], "host": "h"}

    assert plain(MaskedMapping(written)) == written
