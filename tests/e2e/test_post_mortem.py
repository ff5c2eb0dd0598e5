"""What a failed run leaves beside its error: variables, log lines, queries, and of a killed one verdict and stack."""

from __future__ import annotations

import platform

from tests.e2e.conftest import MakeProject

DONE = "tests.e2e.post_mortem_tasks"


def test_failures_and_killed_workers_are_explained(make_project: MakeProject) -> None:
    project = make_project(workers=2, kill_grace=0.2, revision="release-7", max_attempts=1)
    failing = project.enqueue(f"{DONE}.log_query_and_fail", "visible", password="hunter2")
    killed = project.enqueue(f"{DONE}.log_and_die", str(project.trace))
    hanging = project.enqueue(f"{DONE}.hang", timeout=0.3)
    fine = project.enqueue("tests.sample.tasks.add", 1, 1)
    again = project.enqueue(f"{DONE}.log_query_and_fail", "other", password="hunter2")
    project.start()

    failed, dead, hung = (project.wait_for_row(task) for task in (failing, killed, hanging))

    found = failed.post_mortem
    assert found is not None
    variables = dict(found.frames[-1].variables)
    assert variables["order"] == "'visible'"
    assert variables["password"] == "********"
    assert variables["pin"] == "********"  # of @sensitive_variables
    assert found.queries == 1
    assert [line.partition(" ")[2] for line in found.log_lines] == ["WARNING shop: order visible"]
    assert (found.revision, found.versions["python"], found.verdict) == ("release-7", platform.python_version(), "")
    assert "hunter2" not in repr(found)
    assert b"hunter2" not in bytes(failed.post_mortem_data or b"")

    found = dead.post_mortem
    assert found is not None
    assert found.exit_code == -9
    assert "killed by signal 9 (SIGKILL)" in found.verdict
    assert [line.partition(" ")[2] for line in found.log_lines] == ["WARNING shop: last words"]
    assert (found.peak_memory_kb or 0) > 1000

    found = hung.post_mortem
    assert found is not None
    assert (hung.status, found.exit_code) == ("timeout", -9)
    assert "in hang_for_ever" in hung.error_traceback
    assert (found.wall_seconds or 0) > 0.3

    other = project.wait_for_row(again)
    assert other.fingerprint == failed.fingerprint not in (None, dead.fingerprint, hung.fingerprint)
    assert failed.same_kind().count() == 2
    success = project.wait_for_row(fine)
    assert (success.post_mortem, success.fingerprint) == (None, None)


def test_coroutines_that_run_together_are_told_apart(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    tasks = {word: project.enqueue(f"{DONE}.log_query_and_fail_in_a_coroutine", word) for word in ("one", "two")}
    project.start()

    for word, task in tasks.items():
        found = project.wait_for_row(task).post_mortem
        assert found is not None
        assert dict(found.frames[-1].variables)["order"] == repr(word)
        assert found.queries == 1
        assert [line.partition(" ")[2] for line in found.log_lines] == [f"WARNING shop: coroutine {word}"]
        assert (found.wall_seconds or 0) >= 0.05


def test_without_it_nothing_is_kept_but_the_fingerprint(make_project: MakeProject) -> None:
    project = make_project(workers=1, post_mortem=False)
    failing = project.enqueue(f"{DONE}.log_query_and_fail", "x", password="y")
    project.start()

    failed = project.wait_for_row(failing)

    assert failed.post_mortem is None
    assert failed.fingerprint
