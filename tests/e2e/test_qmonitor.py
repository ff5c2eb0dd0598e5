"""``qmonitor`` as a person meets it: in a real terminal, with real clusters behind it."""

from __future__ import annotations

import json
import math
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from django_cluster import control
from tests.conftest import wait_until
from tests.e2e import fork_server
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.e2e.running_cluster import ROOT
from tests.e2e.terminal import Terminal
from tests.servers import PostgresServer

pytestmark = pytest.mark.timeout(300)

IMAGES = ROOT / "docs" / "images"
UPDATE_IMAGES = float(os.environ.get("UPDATE_IMAGES", "0"))
"""Seconds of life before the pictures of the documentation are taken anew; 0 = they stay as they are."""

QMONITOR = (sys.executable, "-m", "django", "qmonitor")
QUICK = {"heartbeat_interval": 0.2, "guard_cycle": 0.1}


def monitor(project: Project, *arguments: str, columns: int = 80, lines: int = 24, **environment: Any) -> Terminal:
    told = {**project.environment(), **environment}
    return Terminal([*QMONITOR, "--interval=0.5", *arguments], told, columns, lines)


def run(project: Project, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Without a terminal."""
    told = {**project.environment(), "COLUMNS": "120", **environment}
    return fork_server.run([sys.executable, "-m", "django", *arguments], told)


@pytest.fixture
def busy(make_project: MakeProject) -> Project:
    """A cluster whose three workers are at work; another has done something before, and failed at something."""
    project = make_project(workers=3, timeout=120, **QUICK)
    first = project.start()
    project.enqueue_many("tests.sample.tasks.add", [(1, 2)] * 20)
    project.enqueue("tests.sample.tasks.fail", "the mail server said no", task_name="letter to Ada")
    project.wait_for_rows(21)
    first.process.terminate()
    first.process.wait()
    project.start()  # its workers do not know yet that tasks are short, and take one at a time
    for number in range(3):
        project.enqueue("tests.sample.tasks.sleep", 100, task_name=f"long task {number}")
    wait_until(lambda: len(running_names()) == 3, 20, "three tasks should run")
    project.enqueue("tests.sample.tasks.add", 3, 4, task_name="waits in vain")
    project.enqueue("tests.sample.tasks.add", 5, 6, q_options={"delay": 3600, "task_name": "not yet"})
    return project


def running_names() -> list[str]:
    return [worker.task.name for each in control.clusters() for worker in each.workers if worker.task]


def stop_at_once(project: Project) -> None:
    for cluster in project.clusters:
        cluster.process.send_signal(3)


def test_a_person_finds_the_way_through_every_tab(busy: Project) -> None:
    with monitor(busy, columns=110, lines=30) as terminal:
        terminal.wait_for("1 cluster, 3 workers", "(3 busy)", "done per second", "ValueError: the mail", "q quit")

        terminal.press("2")
        terminal.wait_for("worker 3", "long task 0", "scheduler")
        terminal.press("right")
        terminal.wait_for("READY", busy.name, "ok, 3 workers")
        terminal.press("4")
        terminal.wait_for("waits in vain", "long task 1", "success", gone=["ok, 3 workers"])
        terminal.press("/", "name:vain")
        terminal.wait_for("waits in vain", "/name:vain", gone=["long task"])
        terminal.press("enter")
        terminal.wait_for("filter: name:vain")
        terminal.press("esc")
        terminal.wait_for("long task 2")

        terminal.press("5")
        terminal.wait_for("failure", "ValueError: the mail")
        terminal.press("enter")
        terminal.wait_for("letter to Ada", "Traceback (most recent call last)", "('the mail server said no')")
        terminal.press("esc")
        terminal.wait_for("q quit", gone=["Traceback"])
        terminal.press("tab")
        terminal.wait_for("There is no schedule.")
        terminal.press("?")
        terminal.wait_for("Keys", "this help")
        terminal.press("esc", "q")
        assert terminal.wait_for_end() == 0
    stop_at_once(busy)


def test_an_operator_acts_after_a_yes(busy: Project) -> None:
    with monitor(busy, "--operate", columns=100, lines=30) as terminal:
        terminal.wait_for("q quit")
        terminal.press("3")
        terminal.wait_for("ok, 3 workers")
        terminal.press("P")
        terminal.wait_for(f"Pause queue {busy.name} for every cluster? (y/n)")
        assert control.paused() == []
        terminal.press("n")
        terminal.wait_for("Cancelled.")
        terminal.press("P", "y")
        terminal.wait_for("paused", "by qmonitor")
        assert [pause.queue for pause in control.paused()] == [busy.name]
        terminal.press("P", "y")
        terminal.wait_for("ok, 3 workers")
        assert control.paused() == []

        terminal.press("4", "/", "name:vain", "enter")
        terminal.wait_for("waits in vain", "filter:")
        terminal.press("C")
        terminal.wait_for("Cancel waits in vain")
        terminal.press("y")
        terminal.wait_for("Task cancelled.")
        terminal.wait_for("cancelled ", gone=["ready     "])
        assert busy.broker().size().ready == 0

        terminal.press("5")
        terminal.wait_for("ValueError")
        terminal.press("R", "y")
        terminal.wait_for("Task retried with the id")
        assert busy.broker().size().ready == 1

        terminal.press("2", "/", "name:*2", "enter")
        terminal.wait_for("worker 2", "filter: name:*2", gone=["worker 1"])
        terminal.press("X", "y")
        terminal.wait_for("restarts after its current task")
        terminal.wait_for("stopping")
    stop_at_once(busy)


def test_a_spectator_cannot_act(busy: Project) -> None:
    with monitor(busy) as terminal:
        terminal.wait_for("q quit")
        terminal.press("3")
        terminal.wait_for("ok, 3 workers")
        terminal.press("P")
        terminal.wait_for("Start qmonitor with --operate to act.")
        terminal.press("y")
        terminal.wait_for("q quit")
    assert control.paused() == []
    stop_at_once(busy)


def test_the_screen_follows_the_size_of_the_terminal(make_project: MakeProject) -> None:
    project = make_project()
    with monitor(project) as terminal:
        terminal.wait_for("No cluster is running", "q quit")

        terminal.resize(132, 40)
        terminal.wait_for("done per second", "at most 0")
        terminal.wait_for("at most 0", "q quit")
        wait_until(lambda: terminal.look()[39].endswith("q quit"), 20, "the footer should be at the bottom")
        terminal.resize(40, 10)
        terminal.wait_for("Too small.")
        terminal.resize(80, 24)
        terminal.wait_for("done per second", "q quit", gone=["Too small."])


@pytest.mark.server("postgres")
def test_a_terminal_that_answers_no_question_is_not_waited_for(make_project: MakeProject) -> None:
    with monitor(make_project(**QUICK)) as terminal:
        terminal.wait_for_a_sign()
        begun = time.monotonic()
        terminal.wait_for("qmonitor", "1 Overview")
        assert time.monotonic() - begun < 4, "blessed alone would wait for ten seconds"

        terminal.press("\x1bP>|quite late (5)\x1b\\\x1b[24;80R", "?")
        terminal.wait_for("Keys", "this help")
        terminal.press("esc", "q")
        assert terminal.wait_for_end() == 0


def test_a_lost_database_is_a_banner_and_comes_back(make_project: MakeProject) -> None:
    server = PostgresServer().start()
    try:
        project = make_project(server=server)
        with monitor(project) as terminal:
            terminal.wait_for("No cluster is running", "q quit", gone=["cannot be used"])
            project.forget_connection()

            server.kill()
            terminal.wait_for("cannot be used")
            terminal.press("5")
            terminal.wait_for("AGO STATUS", "cannot be used")
            server.restart()

            terminal.wait_for("No task has failed.", gone=["cannot be used"])
            terminal.press("q")
            assert terminal.wait_for_end() == 0
    finally:
        server.stop()


def test_a_lost_broker_is_a_banner_and_the_rest_goes_on(make_project: MakeProject) -> None:
    project = make_project()
    del project.q_cluster["orm"]
    project.q_cluster["redis"] = "redis://127.0.0.1:1"

    with monitor(project, columns=120) as terminal:
        terminal.wait_for("unavailable", "1 Overview", "q quit")
        terminal.press("2")
        terminal.wait_for("No cluster is running")


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_means_no_colour(make_project: MakeProject, environment: dict[str, Any], coloured: bool) -> None:
    project = make_project()
    with monitor(project, **environment) as terminal:
        terminal.wait_for("No cluster is running", "q quit")
        styles = {cell.fg for row in terminal.screen.buffer.values() for cell in row.values() if cell.data.strip()}
        assert (styles != {"default"}) is coloured

        # Every line stands in its place all the same, and what is chosen can be seen.
        assert terminal.lines[0].startswith(" qmonitor")
        assert terminal.lines[-1].endswith("q quit")
        terminal.press("3")
        terminal.wait_for("READY", gone=["5 min ago"])
        assert terminal.lines[2].startswith("QUEUE")
        assert terminal.screen.buffer[0][1].reverse


@pytest.mark.parametrize("how", [("--ascii",), ()])
def test_ascii_means_plain_letters(busy: Project, how: tuple[str, ...]) -> None:
    environment: dict[str, Any] = {} if how else {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C"}
    with monitor(busy, *how, **environment) as terminal:
        terminal.wait_for("5 min ago", "q quit")
        terminal.press("2")
        terminal.wait_for("`- ", "worker 3", "tasks.sl")
        assert terminal.text.isascii()
        terminal.press("1")
        terminal.wait_for("5 min ago")
        assert terminal.text.isascii()
    stop_at_once(busy)


def test_an_interrupt_is_a_quit(make_project: MakeProject) -> None:
    project = make_project()
    with monitor(project) as terminal:
        terminal.wait_for("q quit")
        terminal.press("\x03")
        assert terminal.wait_for_end() == 0


# ── without a screen ─────────────────────────────────────────────────────────────────────────────


def test_without_a_terminal_it_prints_one_plain_table(busy: Project) -> None:
    for arguments in ((), ("--once",), ("--run-once",)):
        printed = run(busy, "qmonitor", *arguments)

        assert printed.returncode == 0, printed.stderr
        assert "long task 1" in printed.stdout
        assert "READY" in printed.stdout
        assert "\x1b" not in printed.stdout
    stop_at_once(busy)


def test_everything_is_there_for_programs_as_json(busy: Project) -> None:
    document = json.loads(run(busy, "qmonitor", "--json").stdout)

    (cluster,) = document["clusters"]
    assert cluster["alive"]
    assert {"long task 0", "long task 1", "long task 2"} == {
        process["task"]["name"] for process in cluster["processes"] if process["task"]
    }
    assert document["queues"][0]["delayed"] == 1
    assert document["totals"]["successes"] == 20
    assert document["failures"][0]["error"] == "ValueError: the mail server said no"
    assert {task["name"] for task in document["waiting"]} >= {"waits in vain", "not yet"}
    stop_at_once(busy)


def test_without_blessed_it_says_what_to_install(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project()
    (tmp_path / "blessed.py").write_text("raise ImportError('not here')\n")

    with monitor(project, PYTHONPATH=f"{tmp_path}:{ROOT}") as terminal:
        assert terminal.wait_for_end() == 3
        assert "pip install django-cluster[monitor]" in terminal.text.replace("\n", "")
    assert run(project, "qmonitor", "--once", PYTHONPATH=f"{tmp_path}:{ROOT}").returncode == 0


def test_qinfo_says_how_much_there_is_and_was(busy: Project) -> None:
    figures = json.loads(run(busy, "qinfo", "--json").stdout)

    assert figures["clusters"] == 1
    assert figures["workers"] == 3
    assert (figures["queued"], figures["delayed"], figures["leased"]) == (1, 1, 3)
    assert (figures["successes"], figures["failures"], figures["tasks_per_day"]) == (20, 1, 21)
    assert 0 < figures["average_run"] < figures["average_time"]
    text = run(busy, "qinfo").stdout
    assert re.search(r"Workers +3 ", text)
    assert re.search(r"Tasks/day +21 ", text)
    ids = run(busy, "qinfo", "--ids").stdout.split()
    assert ids == [cluster.id for cluster in control.clusters()]
    stop_at_once(busy)


def test_qinfo_explains_every_setting_and_hides_what_is_secret(make_project: MakeProject) -> None:
    project = make_project()
    del project.q_cluster["orm"]
    project.q_cluster["redis"] = "redis://:hunter2@localhost/0"

    printed = run(project, "qinfo", "--config", Q_CLUSTER_RETRY="77")

    assert re.search(r"^retry +77.0 +environment Q_CLUSTER_RETRY$", printed.stdout, re.MULTILINE)
    assert re.search(r"^workers +2 +setting workers$", printed.stdout, re.MULTILINE)
    assert re.search(r"^guard_cycle +0.5 +default$", printed.stdout, re.MULTILINE)
    assert re.search(r"^broker +.*redis.* +setting redis$", printed.stdout, re.MULTILINE)
    assert "hunter2" not in printed.stdout + printed.stderr
    document = json.loads(run(project, "qinfo", "--config", "--json").stdout)
    assert document["workers"] == {"value": "2", "origin": "setting workers"}


def test_qmemory_says_what_each_process_holds(busy: Project) -> None:
    printed = run(busy, "qmemory", "--run-once", "--workers")

    assert printed.returncode == 0, printed.stderr
    assert "worker 3" in printed.stdout
    assert re.search(r"Lowest free memory seen on \S+: \d+\.\d%", printed.stdout)
    (document,) = json.loads(run(busy, "qmemory", "--json").stdout)
    assert document["memory_total"] > document["memory_free"] > 0
    assert all(process["rss"] > 1000 for process in document["processes"])
    stop_at_once(busy)


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not UPDATE_IMAGES, reason="only on request: UPDATE_IMAGES=300")
@pytest.mark.timeout(UPDATE_IMAGES + 120)
def test_the_pictures_of_the_documentation_are_taken(make_project: MakeProject) -> None:
    project = make_project(workers=4, timeout=120, name="shop", heartbeat_interval=1)
    project.start()
    with monitor(project, "--operate", columns=100, lines=28) as terminal:
        terminal.wait_for("1 cluster", "q quit")
        live(project, terminal, UPDATE_IMAGES)
        for number in range(3):
            project.enqueue("tests.sample.tasks.sleep", 60, task_name=f"render film {number}")
        live(project, terminal, 8)
        for key, name in (("1", "overview"), ("2", "clusters")):
            terminal.press(key)
            terminal.wait_for("q quit")
            live(project, terminal, 3)
            terminal.save_picture(IMAGES / f"qmonitor-{name}.svg")
        terminal.press("5")
        terminal.wait_for("ValueError", gone=["render film"])
        terminal.press("enter")
        terminal.wait_for("Traceback")
        terminal.save_picture(IMAGES / "qmonitor-failure.svg")
        terminal.press("esc", "3", "P", "y")
        terminal.wait_for("by qmonitor")
        terminal.save_picture(IMAGES / "qmonitor-operate.svg")
        control.resume()
    stop_at_once(project)


def live(project: Project, terminal: Terminal, seconds: float) -> None:
    """Something happens for a while: waves of short tasks, some that take their time, and a failure now and then."""
    chance, until = random.Random(7), time.monotonic() + seconds
    while time.monotonic() < until:
        wave = 1.2 + math.sin(time.monotonic() / 17)
        project.enqueue_many("tests.sample.tasks.add", [(1, 2)] * int(30 * wave * chance.random()))
        project.enqueue("tests.sample.tasks.sleep", chance.random() * wave)
        if chance.random() < 0.04:
            project.enqueue("tests.sample.tasks.fail", "the mail server said no", task_name="letter to Ada")
        terminal.read(0.5)
