"""What the fork server starts begins as if it had been started by hand, and ends like it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeProject
from tests.e2e.fork_server import ForkedProcess
from tests.e2e.project import Project

PROBE = ("-m", "tests.e2e.start_probe")


def lines(project: Project, *arguments: str, fresh: bool, **environment: str) -> tuple[int | None, list[str]]:
    """The exit code of the probe, and its log without the places that differ."""
    project.fresh = fresh
    program = project.launch(*PROBE, *arguments, environment=environment)
    program.may_crash = True
    assert isinstance(program.process, ForkedProcess) is not fresh
    code = program.process.wait(60)
    return code, program.logs.replace(program.log.name, "log").splitlines()


def surroundings(said: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said[0])
    return found


def test_the_surroundings_are_those_of_a_start_by_hand(make_project: MakeProject) -> None:
    project = make_project()

    _, by_hand = lines(project, "0", "an argument", fresh=True, SQUEAK="once")
    _, forked = lines(project, "0", "an argument", fresh=False, SQUEAK="once")

    assert surroundings(forked) == surroundings(by_hand)
    assert surroundings(forked)["environment"]["SQUEAK"] == "once"


@pytest.mark.parametrize("end", ["0", "7", "raise", "killed"])
def test_the_end_is_that_of_a_start_by_hand(make_project: MakeProject, end: str) -> None:
    project = make_project()

    code, by_hand = lines(project, end, fresh=True)
    forked_code, forked = lines(project, end, fresh=False)

    assert forked_code == code
    assert forked[-1:] == by_hand[-1:]
    assert forked.count("RuntimeError: for the log") == by_hand.count("RuntimeError: for the log")


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "LC_ALL", "TZ", "MALLOC_ARENA_MAX"])
def test_what_is_read_before_the_first_line_of_code_leads_to_a_start_by_hand(
    make_project: MakeProject, name: str
) -> None:
    project = make_project()
    assert isinstance(project.launch(*PROBE, "0").process, ForkedProcess)

    assert not isinstance(project.launch(*PROBE, "0", environment={name: "1"}).process, ForkedProcess)


def test_each_child_has_a_temporary_folder_of_its_own(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project()

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        _, said = lines(project, "0", fresh=False, TMPDIR=str(tmp_path / name))

        assert surroundings(said)["folders"][1] == str(tmp_path / name)
