"""How a cluster begins, and when it gives up: settings, start methods, crash loops, programs that embed it."""

from __future__ import annotations

import os
import re
import signal

import psutil
import pytest

from django_cluster.cluster.supervisor.sentinel import ExitCode
from tests.e2e.conftest import MakeProject
from tests.e2e.failing_startup.apps import ROLE

pytestmark = pytest.mark.fresh_start

SABOTAGE = {"DJANGO_SETTINGS_MODULE": "tests.e2e.other_settings"}


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_every_start_method_works(make_project: MakeProject, method: str) -> None:
    project = make_project(max_attempts=0, retry_delay=0.1)
    cluster = project.start(start_method=method)
    ids = project.enqueue_many("tests.sample.tasks.add", [(n, n) for n in range(50)])
    assert [project.wait_for_row(task_id).result for task_id in ids] == [2 * n for n in range(50)]

    killed = cluster.kill("worker")

    cluster.wait_for_replacement("worker", killed, 2)
    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1)).result == 2
    assert cluster.stop() == ExitCode.GRACEFUL


def test_a_cluster_can_be_started_just_to_see_whether_it_comes_up(make_project: MakeProject) -> None:
    project = make_project()

    cluster = project.launch("-m", "django", "qcluster", "--run-once")

    assert cluster.wait_for_exit() == ExitCode.GRACEFUL
    assert "is running" in cluster.logs


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_nobody_survives_a_killed_sentinel_however_they_were_started(make_project: MakeProject, method: str) -> None:
    project = make_project(workers=1)
    cluster = project.start(start_method=method)
    project.enqueue("tests.sample.tasks.touch_and_sleep", str(project.trace), 60)
    project.wait_for_traces(1)

    cluster.signal(signal.SIGKILL)

    cluster.wait_until_nobody_is_left(within=15)


@pytest.mark.parametrize("role", ["worker", "pusher", "monitor", "scheduler"])
def test_a_crash_loop_ends_the_cluster(make_project: MakeProject, role: str) -> None:
    project = make_project()

    cluster = project.launch("-m", "django", "qcluster", environment={**SABOTAGE, ROLE: role})

    assert cluster.wait_for_exit() == ExitCode.CRASH_LOOP
    assert "before it was ready" in cluster.logs
    assert "exit code 7" in cluster.logs
    assert "is running" not in cluster.logs


def test_bad_settings_are_refused_all_at_once(make_project: MakeProject) -> None:
    project = make_project()

    cluster = project.launch("-m", "django", "qcluster", workers=-1, retry=-5, guard_cycle=60, wrokers=2)

    assert cluster.wait_for_exit() not in (0, ExitCode.CRASH_LOOP)
    for key in ("workers", "retry", "guard_cycle", "wrokers"):
        assert key in cluster.logs
    assert "starting:" not in cluster.logs
    assert "Traceback" not in cluster.logs


def test_missing_tables_are_one_sentence_and_an_exit_code(make_project: MakeProject) -> None:
    project = make_project()
    empty = {"TEST_DATABASE_NAME": str(project.folder / "empty.sqlite3")}

    cluster = project.launch("-m", "django", "qcluster", environment=empty)

    assert cluster.wait_for_exit() == ExitCode.CANNOT_START
    assert "lacks the tables" in cluster.logs
    assert "manage.py migrate" in cluster.logs
    assert "Traceback" not in cluster.logs
    assert "starting:" not in cluster.logs


@pytest.mark.parametrize("more", [[], ["--skip-checks"]], ids=["checked", "unchecked"])
def test_a_misspelt_option_of_the_broker_is_one_sentence_and_no_loop(
    make_project: MakeProject, more: list[str]
) -> None:
    project = make_project()

    cluster = project.launch("-m", "django", "qcluster", *more, orm=None, sqs={"regon": "eu"})

    assert cluster.wait_for_exit() not in (0, ExitCode.CRASH_LOOP)
    assert "regon is not known (did you mean 'aws_region'?)" in cluster.logs
    assert "starting:" not in cluster.logs
    assert len(cluster.logs.splitlines()) < 10


def test_a_named_cluster_works_on_its_own_queue(make_project: MakeProject) -> None:
    project = make_project(ALT_CLUSTERS={"slow": {"workers": 1}})
    cluster = project.start("-n", "slow")
    assert len(cluster.pids("worker")) == 1

    project.enqueue("tests.sample.tasks.add", 1, 1)
    ours = project.enqueue("tests.sample.tasks.add", 2, 2, queue="slow")

    assert project.wait_for_row(ours).result == 4
    assert project.broker().size().ready == 1


def test_the_number_of_workers_may_be_said_when_it_is_started(make_project: MakeProject) -> None:
    project = make_project()

    cluster = project.start("--workers", "3")

    assert len(cluster.pids("worker")) == 3


def test_a_program_may_have_a_cluster_inside(make_project: MakeProject) -> None:
    project = make_project()

    program = project.launch("-m", "tests.e2e.embedded", "tidy")

    assert program.wait_for_exit() == 0
    assert "answer 42, exit code 0, running False" in program.logs
    project.wait_for_rows(1)


def test_a_cluster_inside_answers_what_django_qs_users_ask(make_project: MakeProject) -> None:
    project = make_project()

    program = project.launch("-m", "tests.e2e.embedded", "as in Django-Q")

    assert program.wait_for_exit() == 0
    assert re.search(r"\w+-\w+-\w+-\w+ is (Idle|Working), stopping False", program.logs)
    assert "the same True" in program.logs
    assert "afterwards Stopped, stopped True" in program.logs


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_of_django_q_runs_until_it_is_stopped(make_project: MakeProject, number: signal.Signals) -> None:
    """It starts a cluster, and has nothing more to do; scripts wait for the lines of Django-Q."""
    project = make_project()
    program = project.launch("-m", "tests.e2e.embedded_django_q", "command")
    program.wait_for_log("sentinel alive True, running True")

    program.signal(number)

    assert program.wait_for_exit() == 0
    lines = [line for line in program.logs.splitlines() if line.startswith("[Q] Q Cluster ")]
    name = re.search(r"Q Cluster (\S+) starting", program.logs)
    assert name is not None
    assert lines == [
        f"[Q] Q Cluster {name[1]} starting.",
        f"[Q] Q Cluster {name[1]} [{project.name}] running.",
        f"[Q] Q Cluster {name[1]} stopping.",
        f"[Q] Q Cluster {name[1]} has stopped.",
    ]
    assert "[Q] Cluster " in program.logs
    assert "answer 42" in program.logs


@pytest.mark.parametrize(
    ("manner", "sentences"),
    [
        ("stop", ["stopped True, alive False, again False", "has stopped True, exit code 0"]),
        ("atexit", ["stopped at exit True"]),
        ("sentinel", ["answer 42", "status Stopped"]),
    ],
)
def test_a_program_of_django_q_stops_its_cluster(make_project: MakeProject, manner: str, sentences: list[str]) -> None:
    program = make_project().launch("-m", "tests.e2e.embedded_django_q", manner)

    assert program.wait_for_exit() == 0
    assert [sentence for sentence in sentences if sentence not in program.logs] == []


def test_a_program_that_ends_without_a_stop_leaves_nobody(make_project: MakeProject) -> None:
    project = make_project()

    program = project.launch("-m", "tests.e2e.embedded", "careless")

    assert program.wait_for_exit() == 0
    assert "started" in program.logs


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_program_that_is_killed_leaves_nobody(make_project: MakeProject, method: str) -> None:
    project = make_project()
    program = project.launch("-m", "tests.e2e.embedded", "hanging", start_method=method).wait_ready()

    program.signal(signal.SIGKILL)

    assert program.wait_for_exit() == -signal.SIGKILL


def test_processes_say_who_they_are(make_project: MakeProject) -> None:
    project = make_project()
    cluster = project.start()

    titles = {" ".join(process.cmdline()).strip() for process in cluster.members()}

    roles = ("sentinel", "monitor", "pusher", "worker 1", "worker 2", "scheduler")
    assert titles == {f"qcluster {project.name} {role}" for role in roles}
    assert all(psutil.Process(pid).ppid() == cluster.pid for pid in cluster.pids("worker"))
    assert os.getpgid(cluster.pid_of("worker")) == cluster.pid
