"""The table of options: whole, without contradictions, and printed in the reference."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields

import pytest

from django_cluster.core.settings.definition import SECTIONS, SettingDefinition
from django_cluster.core.settings.parser import parse
from django_cluster.core.settings.retired import RETIRED
from django_cluster.core.settings.table import BY_KEY, DEFINITIONS, describe
from django_cluster.errors import InvalidSettings
from docs.generate_settings import REFERENCE, TITLES, checks_page, settings_page

SEED_KEYS = (
    "name workers daemonize_workers recycle max_rss timeout ack_failures max_attempts retry compress save_limit "
    "guard_cycle sync queue_limit label catch_up redis django_redis disque_nodes disque_auth iron_mq sqs orm mongo "
    "mongo_db broker_class bulk poll cache cached scheduler error_reporter cpu_affinity"
)
"""What Django-Q documents."""


def test_every_key_of_django_q_is_known() -> None:
    assert set(SEED_KEYS.split()) <= {option.key for option in DEFINITIONS}


def test_no_key_or_alias_stands_there_twice() -> None:
    names = [name for option in DEFINITIONS for name in (option.key, *option.aliases)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("option", DEFINITIONS, ids=lambda option: option.key)
def test_an_option_has_a_place_a_meaning_and_a_default_that_is_itself_allowed(option: SettingDefinition) -> None:
    places = {each.name for each in fields(SECTIONS[option.section])}

    assert option.field in places | {""}
    assert option.meaning.endswith(".")
    assert option.default is None or option.value_type.convert(option.default) == option.default


@pytest.mark.parametrize("option", DEFINITIONS, ids=lambda option: option.key)
def test_a_meaning_can_be_read_alone(option: SettingDefinition) -> None:
    first = option.meaning.split()[0]

    assert first not in {"As", "Those", "Of", "That", "It", "They"}
    assert not re.search(
        r"\b(nobody|somebody|whoever|everybody|at once|for ever|so many|reckoned|lent)\b", option.meaning
    )
    assert "New." not in option.difference + option.django_q, "whether it is new is a field of its own"
    assert not (option.new and option.difference), "nothing differs from what is not there"


@pytest.mark.parametrize(("old", "new"), RETIRED.items())
def test_a_retired_name_is_refused_with_the_new_one(old: str, new: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{old} has been renamed: it is now {new}"):
        parse({old: 1}, secret="s")
    with pytest.raises(
        InvalidSettings, match=f"Q_CLUSTER_{old.upper()} has been renamed: it is now Q_CLUSTER_{new.upper()}"
    ):
        parse({}, secret="s", environment={f"Q_CLUSTER_{old.upper()}": "1"})


def test_retired_names_are_ours_and_their_successors_are_known() -> None:
    assert set(RETIRED.values()) <= {option.key for option in DEFINITIONS if option.new}
    assert not set(RETIRED) & {*SEED_KEYS.split(), *BY_KEY}


def test_a_retired_name_in_an_alternative_cluster_is_refused_where_it_stands() -> None:
    written = {"ALT_CLUSTERS": {"long": {"keep_days": 7}}}

    with pytest.raises(InvalidSettings, match=r"ALT_CLUSTERS\['long'\]\.keep_days has been renamed"):
        parse(written, secret="s", cluster="long")


def test_every_option_with_a_value_is_described() -> None:
    described = {option.key: value for option, value in describe(parse({"workers": 3}, secret="s"))}

    assert described["workers"] == 3
    assert described["broker"] == {"orm": {"alias": "default"}}
    assert described["retry"] == 60


def test_the_reference_tells_of_every_option_and_every_check() -> None:
    assert {option.key for _, options in TITLES for option in options} == {option.key for option in DEFINITIONS}
    assert all(f"| `{option.key}`" in settings_page() for option in DEFINITIONS)


@pytest.mark.parametrize(("name", "page"), [("settings.md", settings_page), ("checks.md", checks_page)])
def test_a_reference_page_is_up_to_date(name: str, page: Callable[[], str]) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")

    assert written == page(), "run: python -m docs.generate_settings"
