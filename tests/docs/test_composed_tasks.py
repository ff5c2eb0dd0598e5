"""The examples of docs/how-to/compose-tasks.md do what the page says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from django_cluster import AsyncTask, Chain, Group, Iter, async_chain, async_iter, async_task, call, fetch, result
from django_cluster.brokers import memory
from django_cluster.tasks import result_group
from django_cluster.testing.drain import drain
from tests.docs.composed_tasks import area, fetch_orders, letters, make_invoices, send_invoices, tell_boss

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True, params=["orm", "memory"])
def _shop(request: pytest.FixtureRequest, settings: Any) -> Iterator[None]:
    settings.Q_CLUSTER = {"name": "shop", "broker": request.param, "on_commit": False, "max_attempts": 1}
    letters.clear()
    memory.reset()
    yield
    memory.reset()


def work() -> None:
    drain(raise_errors=False)


def test_a_chain() -> None:
    # chain begins
    group = async_chain(
        [
            (fetch_orders, ("Monday",)),
            (make_invoices, ("Monday",)),
            call(send_invoices, "Monday", timeout=60),
        ]
    )
    # chain ends
    work()

    assert letters == ["fetched Monday", "invoiced Monday", "sent Monday"]
    assert result_group(group) == [None, "invoices of Monday", 3]


def test_a_chain_in_the_hand() -> None:
    # chain in the hand begins
    chain = Chain()
    chain.append(fetch_orders, "Monday")
    chain.append(make_invoices, "Monday")
    chain.run()
    # chain in the hand ends
    work()

    assert chain.result(wait=5000) == [3, "invoices of Monday"]


def test_a_chain_that_stops_and_one_that_goes_on() -> None:
    links = [call(make_invoices, "a holiday"), call(send_invoices, "a holiday")]

    async_chain(links)
    work()
    assert letters == []
    async_chain(links, stop_on_failure=False)
    work()

    assert letters == ["sent a holiday"]


def test_what_follows_one_task() -> None:
    # option begins
    async_task(fetch_orders, "Monday", chain=[(make_invoices, ("Monday",))])
    # option ends
    work()

    assert letters == ["fetched Monday", "invoiced Monday"]


def test_a_group() -> None:
    # group begins
    days = ["Monday", "Tuesday", "a holiday"]
    group = (
        Group(call(make_invoices, day) for day in days)
        .on_success(tell_boss, "all is well")
        .on_failure(tell_boss, "look at the invoices")
    )
    group.run()
    # group ends
    work()

    assert letters == ["invoiced Monday", "invoiced Tuesday", "told: look at the invoices"]
    assert group.result(wait=5000) == ["invoices of Monday", "invoices of Tuesday"]


def test_an_iter() -> None:
    # iter begins
    iter_id = async_iter(area, [(1, 2), (3, 4), (5, 6)], unit="m²")
    # iter ends
    work()

    assert result(iter_id, wait=5000) == ["2 m²", "12 m²", "30 m²"]


def test_a_failed_iter() -> None:
    iter_id = async_iter(area, [(1, 2), (-3, 4)])
    work()

    task = fetch(iter_id)
    assert task is not None
    assert task.error_message == "1 of 2 items failed: item 1 (ValueError: -3 is no width)."


def test_an_iter_in_the_hand() -> None:
    # iter in the hand begins
    areas = Iter(area)
    areas.append(1, 2)
    areas.append(3, 4)
    areas.run()
    # iter in the hand ends
    work()

    assert areas.result(wait=5000) == ["2 cm²", "12 cm²"]


def test_a_task_in_the_hand() -> None:
    # task in the hand begins
    task = AsyncTask(area, 2, 3)
    task.group = "areas"
    task.run()
    # task in the hand ends
    work()

    assert task.result(wait=5000) == "6 cm²"
