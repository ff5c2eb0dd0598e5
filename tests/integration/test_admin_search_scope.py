"""Where a search looks only into the newest rows, the page says so and offers all; an export is always whole."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from django_cluster.admin import search
from django_cluster.testing.outcomes import make_failure
from tests.integration.admin_client import page, save

pytestmark = pytest.mark.django_db

SAID = "Only the newest 100,000 rows were searched."


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is not among those that are searched by themselves."""
    monkeypatch.setattr(search, "MAX_SEARCHED", 3)
    save(
        make_failure(name="old one", func="shop.old", options={"queue": "slow"}, stopped_at=1_700_000_000.0),
        *(make_failure(name=f"new {number}", stopped_at=1_700_001_000.0 + number) for number in range(4)),
    )


@pytest.mark.parametrize("query", [{"q": "old on"}, {"q": "error:good worker:1 old"}, {"queue": "slow"}])
def test_what_was_left_out_is_said_and_can_be_asked_for(admin_client: Client, query: dict[str, str]) -> None:
    limited = page(admin_client, "failure_changelist", **query)
    whole = page(admin_client, "failure_changelist", **query, rows="all")

    assert SAID in limited
    assert "old one" not in limited
    assert "rows=all" in limited
    assert SAID not in whole
    assert "old one" in whole


@pytest.mark.parametrize(
    "query", [{"q": "old one"}, {"q": "shop.old"}, {"q": "func:shop.old"}, {"func": "shop.old"}, {}]
)
def test_what_an_index_finds_is_asked_of_all_rows(admin_client: Client, query: dict[str, str]) -> None:
    text = page(admin_client, "failure_changelist", **query)

    assert "old one" in text
    assert SAID not in text


def test_an_export_searches_all_rows(admin_client: Client) -> None:
    url = reverse("admin:django_cluster_failure_changelist") + "?q=old+on"
    data = {"action": "export_csv", "select_across": "1", "_selected_action": ["x"]}

    response = admin_client.post(url, data)

    assert b"old one" in b"".join(response.streaming_content)  # type: ignore[attr-defined]  # a streaming one has it


def test_words_of_an_error_are_found_without_a_prefix_among_the_newest(admin_client: Client) -> None:
    limited = page(admin_client, "failure_changelist", q="no goo")
    whole = page(admin_client, "failure_changelist", q="no goo", rows="all")

    assert SAID in limited
    assert "new 3" in limited
    assert "old one" not in limited
    assert "old one" in whole


def test_the_choice_is_offered_beside_the_filters(admin_client: Client) -> None:
    text = page(admin_client, "failure_changelist", rows="all")

    assert "the newest 100,000" in text
    assert "all rows" in text
