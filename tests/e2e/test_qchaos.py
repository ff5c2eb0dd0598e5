"""``manage.py qchaos``: it finds nothing where all is well, and finds what is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from django_cluster.models import QueuedTask, Task
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.e2e.running_cluster import ROOT
from tests.servers import PostgresServer, RedisServer

PATIENCE = 110.0
QUICK = ("--seconds", "4", "--every", "0.4", "--rate", "30", "--lease", "3")

EARLY = "762"
"""A seed with which sentinel and server have their turn early, however slow the machine."""


class Said(NamedTuple):
    """What a run has printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    def check(self) -> dict[str, Any]:
        """The figures of a run that kept every promise."""
        assert self.code == 0, f"{self.out}\n{self.err}"
        return self.figures


def qchaos(project: Project, *arguments: str, **q_cluster: str) -> Said:
    environment = project.environment()
    if q_cluster:
        environment["TEST_Q_CLUSTER"] = json.dumps({"name": project.name, **q_cluster})
    command = [sys.executable, "-m", "django", "qchaos", *arguments]
    done = subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    return Said(done.returncode, done.stdout, done.stderr)


def leftovers(project: Project) -> list[Path]:
    """What is in the temporary folder of the project."""
    return sorted((project.folder / "tmp").iterdir())


@pytest.mark.slow
def test_nothing_is_lost_on_sqlite_when_everybody_is_killed(make_project: MakeProject) -> None:
    project = make_project()

    figures = qchaos(project, *QUICK, "--yes", "--json", "--sentinel", "--seed", EARLY).check()

    assert figures["enqueued"] == figures["finished"] == figures["rows"]["all"]
    assert figures["enqueued"] > 60, "a slow machine sends fewer than 120"
    # Whom a slow machine leaves time to hit differs; most of them are hit, and the sentinel is.
    assert {injected["target"] for injected in figures["faults"]} >= {"sentinel", "worker"}


@pytest.mark.slow
def test_nothing_is_lost_on_redis_when_everybody_is_killed_and_the_server_hangs(
    make_project: MakeProject, redis_server: RedisServer
) -> None:
    project = make_project(broker="redis")
    assert redis_server.process is not None
    pause = ("--pause-broker", str(redis_server.process.pid))

    figures = qchaos(project, *QUICK, *pause, "--yes", "--json", "--sentinel", "--seed", EARLY).check()

    assert figures["enqueued"] == figures["finished"]
    assert "server" in {injected["target"] for injected in figures["faults"]}


@pytest.mark.slow
def test_nothing_is_lost_on_postgres_when_everybody_is_killed_and_the_server_hangs(
    make_project: MakeProject, postgres_server: PostgresServer
) -> None:
    project = make_project(database="postgres")
    assert postgres_server.process is not None
    pause = ("--pause-broker", str(postgres_server.process.pid))

    figures = qchaos(project, *QUICK, *pause, "--yes", "--json", "--sentinel", "--seed", EARLY).check()

    assert figures["enqueued"] == figures["finished"]
    assert "server" in {injected["target"] for injected in figures["faults"]}


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["rabbitmq", "sqs"])
def test_nothing_is_lost_on_a_server_of_messages_when_everybody_is_killed(
    make_project: MakeProject, broker: str
) -> None:
    project = make_project(broker)

    figures = qchaos(project, *QUICK, "--yes", "--json", "--sentinel", "--seed", EARLY).check()

    assert figures["enqueued"] == figures["finished"]


@pytest.mark.slow
def test_nothing_is_lost_on_sqlite_when_processes_are_frozen_and_there_is_no_network(make_project: MakeProject) -> None:
    said = qchaos(make_project(), *QUICK, "--freeze", "--network", "--yes", "--json", "--seed", EARLY)

    figures = said.figures
    assert figures["enqueued"] == figures["finished"] == 120
    assert {injected["kind"] for injected in figures["faults"]} == {"freeze", "kill"}
    assert "no network" in figures["not_applicable"][0]


@pytest.mark.slow
def test_a_broker_that_forgets_is_found_out(make_project: MakeProject) -> None:
    broker = "tests.e2e.unreliable_brokers.ForgetfulBroker"

    said = qchaos(make_project(), *QUICK, "--yes", "--json", broker_class=broker)

    assert said.code == 1, said.err
    # A slow machine sends fewer than the 120 for which there is time; of each ten the broker forgets one.
    assert said.figures["lost"] == said.figures["enqueued"] // 10 > 0
    assert said.figures["ok"] is False


@pytest.mark.slow
def test_a_broker_that_delivers_twice_is_found_out(make_project: MakeProject) -> None:
    broker = "tests.e2e.unreliable_brokers.ZealousBroker"

    said = qchaos(make_project(), *QUICK, "--every", "100", "--yes", broker_class=broker)

    assert said.code == 1, said.err
    assert "repeated runs are not explained by a kill" in said.out
    assert "The log and the journals are in" in said.err


@pytest.mark.slow
def test_a_run_leaves_nothing_in_the_tables_and_in_the_folders(make_project: MakeProject) -> None:
    project = make_project()

    said = qchaos(project, "--seconds", "2", "--rate", "20", "--yes")

    assert said.code == 0, said.out
    assert not Task.objects.exists()
    assert not QueuedTask.objects.exists()
    assert leftovers(project) == []


@pytest.mark.slow
def test_what_is_to_be_kept_is_kept(make_project: MakeProject) -> None:
    project = make_project()

    said = qchaos(project, "--seconds", "2", "--rate", "20", "--yes", "--keep")

    assert said.code == 0, said.out
    assert Task.objects.filter(success=True).count() == 40
    (folder,) = leftovers(project)
    assert "is running" in (folder / "log").read_text()


@pytest.mark.slow
def test_a_seed_repeats_the_plan(make_project: MakeProject) -> None:
    project = make_project()
    run_options = ("--seconds", "2", "--every", "0.4", "--rate", "20", "--yes", "--json", "--seed", "5")

    first, second = qchaos(project, *run_options).check(), qchaos(project, *run_options).check()

    pairs = list(zip(first["faults"], second["faults"], strict=False))  # a slower machine comes less far
    assert pairs
    assert all(one["target"] == other["target"] for one, other in pairs)
    assert first["seed"] == second["seed"] == 5


def test_without_debug_a_run_needs_a_confirmation(make_project: MakeProject) -> None:
    project = make_project()

    said = qchaos(project, "--seconds", "2")

    assert said.code == 2
    assert "Add --yes to confirm." in said.err
    assert leftovers(project) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--seconds", "0"), "--seconds has to be more than 0"),
        (("--pause-command", "true"), "belong together"),
        (("--pause-broker", str(2**22 + 1)), "no process"),
    ],
)
def test_contradictory_options_are_rejected(
    make_project: MakeProject, arguments: tuple[str, ...], complaint: str
) -> None:
    said = qchaos(make_project(), "--yes", *arguments)

    assert said.code == 2
    assert complaint in said.err
