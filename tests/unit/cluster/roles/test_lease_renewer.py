"""When a renewal is overdue, and what is said of leases that a renewal has found to be gone."""

from __future__ import annotations

import logging

import pytest

from django_cluster.cluster.roles.lease_renewer import RENEWALS_PER_LEASE, LeaseLoss, certain_until, describe_loss


def test_what_was_renewed_is_certain_for_longer_than_until_the_next_renewal_and_for_less_than_a_lease() -> None:
    assert 100.0 + 60.0 / RENEWALS_PER_LEASE < certain_until(100.0, 60.0) < 160.0


@pytest.mark.parametrize(
    ("loss", "level", "words"),
    [
        (LeaseLoss(held=4, running=4, waiting=0, in_time=True), logging.ERROR, "any of 4 leases"),
        (
            LeaseLoss(held=5, running=4, waiting=1, in_time=True),
            logging.ERROR,
            "4 running tasks, 1 waiting messages",
        ),
        (LeaseLoss(held=5, running=1, waiting=0, in_time=True), logging.WARNING, "no longer knows"),
        (LeaseLoss(held=2, running=0, waiting=2, in_time=True), logging.WARNING, "no longer knows"),
        (
            LeaseLoss(held=4, running=4, waiting=0, in_time=False),
            logging.WARNING,
            "other clusters have leased them",
        ),
    ],
)
def test_what_is_said_of_lost_leases(loss: LeaseLoss, level: int, words: str) -> None:
    report = describe_loss(loss)

    assert report is not None
    event, fields = report
    text = event.message % fields
    assert event.level == level
    assert set(fields) == set(event.fields)
    assert text.startswith("Leases lost: ")
    assert words in text


def test_nothing_is_said_where_only_what_is_done_was_lost() -> None:
    assert describe_loss(LeaseLoss(held=9, running=0, waiting=0, in_time=True)) is None
