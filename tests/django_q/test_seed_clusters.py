"""Sentences of Django-Q's page of settings that only a running cluster can keep; see ``test_seed.py``."""

from __future__ import annotations

import os
from pathlib import Path

from django_cluster.tasks import schedule
from tests.conftest import wait_until
from tests.django_q.seed_brokers import NOTES
from tests.e2e.conftest import (  # noqa: F401  fixtures
    MakeProject,
    make_project,
    migrated_file,
    migrated_on,
    new_database,
)
from tests.e2e.running_cluster import PATIENCE

ADD, SLEEP = "tests.sample.tasks.add", "time.sleep"


def affinity_of(pid: int) -> list[int]:
    return sorted(os.sched_getaffinity(pid))


def test_workers_timeout_scheduler_and_affinity_are_as_the_settings_say(make_project: MakeProject) -> None:  # noqa: F811
    """``workers`` is the number of workers. A task that takes longer than ``timeout`` is terminated; a single task may
    have a limit of its own. Without ``scheduler`` nothing looks at schedules. ``cpu_affinity`` is the number of
    processors that each worker uses, and neither the sentinel nor the monitor is bound. Without ``daemonize_workers``
    a task may start child processes.
    """
    project = make_project(workers=3, timeout=1, scheduler=False, cpu_affinity=1, daemonize_workers=False)
    due = schedule(ADD, 1, 1, name="never fired")
    cluster = project.start()
    free = affinity_of(os.getpid())

    late = project.enqueue(SLEEP, 60)
    early = project.enqueue(SLEEP, 1.5, timeout=20)
    parent = project.enqueue("tests.e2e.tasks.run_child", timeout=20)

    assert len(cluster.pids("worker")) == 3
    assert cluster.pids("scheduler") == []
    if len(free) > 1:
        bound = [affinity_of(cluster.pid_of("worker", place)) for place in range(3)]
        assert [len(each) for each in bound] == [1, 1, 1]
        assert bound[0] != bound[1]
    assert affinity_of(cluster.pid_of("monitor")) == free
    assert affinity_of(cluster.pid) == free
    assert project.wait_for_row(late).status == "timeout"
    assert project.wait_for_row(early).success
    assert project.wait_for_row(parent).success
    due.refresh_from_db()
    assert (due.task, due.repeats) == (None, -1)


def test_a_worker_is_replaced_after_so_many_tasks_and_daemons_have_no_children(make_project: MakeProject) -> None:  # noqa: F811
    """``recycle`` is the number of tasks after which a worker is replaced, roughly. The daemon flag is set by default,
    and then a task cannot start a child process.
    """
    project = make_project(workers=1, recycle=5)
    cluster = project.start()
    before = cluster.pid_of("worker")

    parent = project.enqueue("tests.e2e.tasks.run_child")
    ids = project.enqueue_many("os.getpid", [()] * 30)

    assert "daemonic processes are not allowed to have children" in str(project.wait_for_row(parent).error_message)
    pids = {project.wait_for_row(task_id).result for task_id in ids}
    assert len(pids) > 2
    cluster.wait_for_replacement("worker", before)


def test_a_worker_that_has_grown_beyond_max_rss_is_replaced(make_project: MakeProject) -> None:  # noqa: F811
    """``max_rss`` is the resident memory in kilobytes above which a worker is replaced; one kilobyte is always less."""
    project = make_project(workers=1, max_rss=1)
    cluster = project.start()

    first, second = (project.wait_for_row(project.enqueue("os.getpid")).result for _ in range(2))

    assert first != second
    cluster.wait_for_replacement("worker", first)


def test_retry_repeats_no_task_that_still_runs_and_the_broker_of_the_project_is_asked_for_bulk(
    make_project: MakeProject,  # noqa: F811
) -> None:
    """In the example ``time.sleep`` runs five times, because ``retry`` is shorter: here it runs once, and nothing
    is left in the queue. ``broker_class`` is the class that the cluster works with, ``bulk`` the most messages that it
    asks for, and ``queue_limit`` what it holds beyond what runs.
    """
    project = make_project(
        workers=4,
        retry=2,
        bulk=3,
        queue_limit=1,
        orm="default",
        broker_class="tests.django_q.seed_brokers.NotingBroker",
    )
    notes = Path(project.folder) / "notes"
    os.environ[NOTES] = str(notes)
    try:
        long = project.enqueue(SLEEP, 5)
        project.start(environment={NOTES: str(notes)})
        ids = project.enqueue_many(SLEEP, [(0.05,)] * 20)

        assert project.wait_for_row(long).attempt_count == 1
        assert all(project.wait_for_row(task_id).attempt_count == 1 for task_id in ids)
        wait_until(lambda: project.broker().size().total == 0, PATIENCE, "nothing should be left")
    finally:
        del os.environ[NOTES]
    asked = [tuple(map(int, line.split())) for line in notes.read_text().splitlines()]
    assert sum(came for _, came in asked) == 21
    assert max(limit for limit, _ in asked) <= 3
