"""The parts of the ORM broker that need no database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.brokers.messages import Message
from django_cluster.brokers.orm_rows import (
    MAX_STATEMENT_CHARACTERS,
    MAX_STATEMENT_ROWS,
    channel_of,
    parse_receipt,
    statement_batches,
)


@given(st.lists(st.sampled_from(["x", "x" * 100_000, "x" * (MAX_STATEMENT_CHARACTERS + 1)]), min_size=1, max_size=60))
def test_statement_batches_keep_every_message_in_order_and_stay_small(payloads: list[str]) -> None:
    messages = [Message(payload) for payload in payloads]

    portions = list(statement_batches(messages))

    assert [message for portion in portions for message in portion] == messages
    for portion in portions:
        assert portion
        assert len(portion) == 1 or sum(len(message.payload) for message in portion) <= MAX_STATEMENT_CHARACTERS


def test_many_small_messages_are_cut_by_their_number() -> None:
    portions = list(statement_batches([Message("x")] * (2 * MAX_STATEMENT_ROWS + 1)))

    assert [len(portion) for portion in portions] == [MAX_STATEMENT_ROWS, MAX_STATEMENT_ROWS, 1]


def test_a_receipt_is_an_id_and_the_number_of_the_lease() -> None:
    assert parse_receipt("12:3") == (12, 3)


@pytest.mark.parametrize("text", ["", "12", "12:", ":3", "12:3:4", "-1:3", "1:-3", "a:b", "1 :2", "²:1", "1); DROP"])
def test_other_text_is_no_receipt(text: str) -> None:
    assert parse_receipt(text) is None


@pytest.mark.parametrize("queue", ["default", "x" * 100, 'naïve "queue"; --'])
def test_a_channel_is_a_plain_name_that_postgresql_does_not_cut(queue: str) -> None:
    channel = channel_of(queue)

    assert channel.isidentifier()
    assert channel.isascii()
    assert channel == channel.lower()
    assert len(channel) < 64
    assert channel != channel_of(queue + "x")
