"""What a cluster says of itself survives the way through a row, and versions may differ."""

from __future__ import annotations

import json

import pytest

from django_cluster.core.task_progress import TaskProgress
from django_cluster.stores.status import ClusterStatus, ProcessStatus, RunningTask, Throughput, ThroughputSlice
from tests.fields import fields

STATUS = ClusterStatus(
    id="8c1d7a9e-0000-4000-8000-000000000001",
    name="shop",
    queues=("default", "mail"),
    host="web-1",
    pid=10,
    state="running",
    started_at=1000.0,
    published_at=1060.0,
    interval=2.0,
    paused=("mail",),
    versions={"django_cluster": "0.1.0"},
    processes=(
        ProcessStatus(role="sentinel", pid=10, state="running"),
        ProcessStatus(
            role="worker",
            index=1,
            incarnation=7,
            pid=12,
            state="busy",
            task=RunningTask(
                id="1",
                name="ten green bottles",
                func="shop.tasks.sing",
                started=1050.0,
                limit=60.0,
                progress=TaskProgress(done=3, total=10),
            ),
        ),
    ),
    throughput=Throughput(done=3, failed=1, slices=(ThroughputSlice(number=212, done=3, run_median=0.1),)),
)


def test_a_status_comes_back_from_its_text_as_it_was() -> None:
    assert ClusterStatus.from_text(STATUS.to_text()) == STATUS


def test_what_a_newer_version_adds_is_passed_over() -> None:
    document = json.loads(STATUS.to_text())
    document["mood"] = "cheerful"
    document["processes"][1]["task"]["progress"]["pace"] = "slow"
    document["processes"][1]["hat"] = document["processes"][1]["task"]["tune"] = "green"
    document["throughput"]["slices"][0]["colour"] = "blue"

    assert ClusterStatus.from_text(json.dumps(document)) == STATUS


def test_what_an_older_version_did_not_say_has_its_default() -> None:
    document = json.loads(STATUS.to_text())
    for name in ("processes", "throughput", "paused", "memory_free"):
        del document[name]

    status = ClusterStatus.from_text(json.dumps(document))

    assert fields(status, "processes", "throughput", "paused", "memory_free") == {
        "processes": (),
        "throughput": Throughput(),
        "paused": (),
        "memory_free": 0,
    }


@pytest.mark.parametrize(("age", "alive"), [(0.0, True), (9.9, True), (10.1, False)])
def test_three_missed_heartbeats_and_some_patience_mean_death(age: float, alive: bool) -> None:
    assert ClusterStatus.from_text(STATUS.to_text(), age).alive is alive


def test_workers_are_named_as_their_logs_name_them() -> None:
    assert [process.name for process in STATUS.processes] == ["sentinel", "worker 2"]
    assert [worker.pid for worker in STATUS.workers] == [12]
    assert STATUS.uptime == 60.0
