"""Many recorders note the ends of one group at once, on every database: what follows is sent exactly once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections

from django_cluster.brokers.base import Broker
from django_cluster.brokers.orm import OrmBroker
from django_cluster.core.codec import CONTINUATION, Codec
from django_cluster.core.compositions import MemberRole, Membership
from django_cluster.core.messages import Outcome, TaskHeader, TaskPackage
from django_cluster.core.settings import BrokerSettings, DeliverySettings, ResultSettings
from django_cluster.errors import StoreUnavailable
from django_cluster.lifecycle.continuations import Continuations
from django_cluster.lifecycle.recorder import Recorder
from django_cluster.lifecycle.send import AddressedMessage, TaskRouter
from django_cluster.models import GroupMember, QueuedTask, Task, TaskGroup
from django_cluster.stores.orm import OrmResults
from django_cluster.testing.outcomes import make_failure, make_outcome
from tests.brokers import known_database
from tests.conftest import make_settings
from tests.servers import MariaDBServer, PostgresServer

RECORDERS = 4
MEMBERS = 120
CODEC = Codec(make_settings().signing)
ONCE = DeliverySettings(max_attempts=1)


class Place:
    """A database, and recorders in it."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.sent: list[AddressedMessage] = []
        """What recorders with a queue elsewhere have sent."""

    def broker(self) -> Broker:
        section = BrokerSettings(kind="orm", options={"alias": self.alias}, name="tests", queue="tests")
        return OrmBroker(section)

    def recorder(self, where: str) -> tuple[Recorder, OrmResults]:
        results = OrmResults(ResultSettings(save_limit=0, database=self.alias))
        if where == "together":
            broker = self.broker()
            forward: Callable[[Sequence[AddressedMessage]], None] = TaskRouter(CODEC, broker).forward
            return Recorder(
                results, broker, ONCE, Continuations(results.groups, CODEC, forward, claimed_by=uuid4().hex)
            ), results
        return Recorder(
            results, None, ONCE, Continuations(results.groups, CODEC, self.sent.extend, claimed_by=uuid4().hex)
        ), results

    def sent_anywhere(self) -> list[str]:
        """The ids of what was sent, repetitions too."""
        payloads = [each.message.payload for each in self.sent]
        payloads += QueuedTask.objects.using(self.alias).values_list("payload", flat=True)
        return [CODEC.split(CODEC.verify(payload))[0].id for payload in payloads]


def payload_of(task_id: str) -> str:
    header = TaskHeader(id=task_id, name=task_id, func="tests.sample.tasks.nothing", enqueued_at=1.0)
    return CODEC.for_queue(CONTINUATION).dumps(TaskPackage(header=header))


def record_patiently(recorder: Recorder, batch: Sequence[Outcome]) -> None:
    """As a monitor does: what could not be recorded now is recorded later."""
    for _ in range(50):
        try:
            recorder.record(batch)
        except StoreUnavailable:
            continue
        return
    pytest.fail("a batch could never be recorded")


def outcomes_of(group: str, failing: int | None = None) -> list[Outcome]:
    outcomes = []
    for position in range(MEMBERS):
        options = {"member": Membership(group, position, MemberRole.CALL).wire, "group": group}
        make = make_failure if position == failing else make_outcome
        outcomes.append(make(id=f"{group[:20]}{position:012x}", options=options, receipt=""))
    return outcomes


def record_with_many(place: Place, where: str, batches: Sequence[Sequence[Outcome]]) -> None:
    """Every recorder records every batch, each in an order of its own."""

    def record_all(seed: int) -> None:
        recorder, _ = place.recorder(where)
        mine = list(batches)
        random.Random(seed).shuffle(mine)
        for batch in mine:
            record_patiently(recorder, batch)
        connections[place.alias].close()

    with ThreadPoolExecutor(RECORDERS) as pool:
        list(pool.map(record_all, range(RECORDERS)))


@pytest.fixture(params=["together", "elsewhere"])
def where(request: pytest.FixtureRequest) -> str:
    """The queue is in the database of the rows, or it is not."""
    return str(request.param)


class Recording:
    @pytest.fixture
    def place(self, entry: dict[str, Any], django_db_blocker: Any) -> Iterator[Place]:
        with django_db_blocker.unblock(), known_database(entry) as alias:
            with connections[alias].schema_editor() as editor:
                for model in (Task, QueuedTask, TaskGroup, GroupMember):
                    editor.create_model(model)
            yield Place(alias)

    def test_what_follows_a_group_is_sent_once_however_many_record(self, place: Place, where: str) -> None:
        group = uuid4().hex
        _, results = place.recorder(where)
        results.groups.create(group, MEMBERS, payload_of("success"), payload_of("failure"))
        outcomes = outcomes_of(group)

        record_with_many(place, where, [outcomes[start::40] for start in range(40)])

        row = TaskGroup.objects.using(place.alias).get()
        assert (row.done, row.failed) == (MEMBERS, 0)
        assert place.sent_anywhere() == ["success"]
        assert Task.objects.using(place.alias).count() == MEMBERS

    def test_what_follows_a_failure_is_sent_once_however_many_record(self, place: Place, where: str) -> None:
        group = uuid4().hex
        _, results = place.recorder(where)
        results.groups.create(group, MEMBERS, payload_of("success"), payload_of("failure"))
        outcomes = outcomes_of(group, failing=7)

        record_with_many(place, where, [outcomes[start::40] for start in range(40)])

        row = TaskGroup.objects.using(place.alias).get()
        assert (row.done, row.failed) == (MEMBERS, 1)
        assert place.sent_anywhere() == ["failure"]

    def test_the_next_link_is_sent_once_however_many_record(self, place: Place, where: str) -> None:
        chains = [uuid4().hex for _ in range(20)]
        outcomes = [
            make_outcome(
                options={"member": Membership(of, 0, MemberRole.LINK).wire, "chain": [payload_of(f"after {of}")]},
                receipt="",
            )
            for of in chains
        ]

        record_with_many(place, where, [outcomes[start::5] for start in range(5)])

        assert sorted(place.sent_anywhere()) == sorted(f"after {of}" for of in chains)

    def test_a_repaired_member_is_counted_once_however_many_record(self, place: Place, where: str) -> None:
        group = uuid4().hex
        recorder, results = place.recorder(where)
        results.groups.create(group, MEMBERS, payload_of("success"), payload_of("failure"))
        recorder.record(outcomes_of(group, failing=7))
        place.sent.clear()
        QueuedTask.objects.using(place.alias).all().delete()

        record_with_many(place, where, [[each._replace(attempt=2)] for each in outcomes_of(group)[5:10]])

        row = TaskGroup.objects.using(place.alias).get()
        assert (row.done, row.failed) == (MEMBERS, 0)
        assert place.sent_anywhere() == ["success"]


class TestInSQLite(Recording):
    @pytest.fixture
    def entry(self, tmp_path: Path) -> dict[str, Any]:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db.sqlite3")}


class TestInPostgreSQL(Recording):
    @pytest.fixture
    def entry(self, postgres_server: PostgresServer) -> Iterator[dict[str, Any]]:
        name = f"groups_{uuid4().hex}"
        postgres_server.create_database(name)
        yield postgres_server.database(name)
        postgres_server.drop_database(name)


class TestInMariaDB(Recording):
    @pytest.fixture
    def entry(self, mariadb_server: MariaDBServer) -> Iterator[dict[str, Any]]:
        name = f"groups_{uuid4().hex}"
        mariadb_server.create_database(name)
        yield mariadb_server.database(name)
        mariadb_server.drop_database(name)

    def test_a_result_larger_than_a_packet_is_a_failed_item_and_holds_nobody_up(self, place: Place, where: str) -> None:
        recorder, results = place.recorder(where)
        group = uuid4().hex
        results.groups.create(group, 2, payload_of("success"), payload_of("failure"))
        large, small = (
            make_outcome(
                result=data, receipt="", options={"save": False, "member": Membership(group, n, MemberRole.ITEM).wire}
            )
            for n, data in enumerate([b"P" + bytes(10 << 20), b"small"])
        )

        recorder.record([large, small])

        first, second = results.groups.members(group)
        assert (first.success, first.sealed_result) == (False, None)
        assert "max_allowed_packet" in first.error
        assert (second.success, bytes(second.sealed_result or b"")) == (True, b"small")
        assert place.sent_anywhere() == ["failure"]
