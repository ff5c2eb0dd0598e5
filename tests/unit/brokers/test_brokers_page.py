"""The reference page of brokers says what the classes say."""

from __future__ import annotations

from django_cluster.brokers import ADAPTERS
from docs.generate_brokers import PAGE, page


def test_the_page_of_brokers_follows_the_capabilities() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m docs.generate_brokers"


def test_every_kind_that_can_be_opened_has_a_column() -> None:
    head = next(line for line in page().splitlines() if line.startswith("| |") or line.startswith("|  |"))

    assert sorted(head.replace("|", " ").replace("`", " ").split()) == sorted(ADAPTERS)
