"""The demo as a newcomer runs it: complete, interrupted, killed; every file is always accounted for."""

from __future__ import annotations

import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import wait_until
from tests.e2e.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 200


class Demo:
    """The example project with a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "census.sqlite3"
        self.environment = {**os.environ, "CENSUS_DATABASE": str(self.database)}
        self.started: list[subprocess.Popen[str]] = []
        self.environment["DJANGO_SETTINGS_MODULE"] = "example.settings"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """In a process group of its own, as a shell does it for what is typed in a terminal."""
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, expect: int = 0) -> str:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=100)
        assert process.returncode == expect, output + self.log()
        return output

    def census(self, expect: int = 0) -> str:
        return self.run("census", "--limit", str(LIMIT), expect=expect)

    def interrupted_census(self, *signals: int) -> str:
        """A census that gets the signals when it is in full swing; what it said."""
        process = self.start("census", "--limit", str(LIMIT))
        wait_until(lambda: self.count("django_cluster_task") >= 10, within=30, because="no task ended")
        for number in signals:
            os.killpg(process.pid, number)
        output, _ = process.communicate(timeout=60)
        assert process.returncode != 0, output
        return output

    def count(self, table: str, where: str = "1") -> int:
        with closing(sqlite3.connect(self.database, timeout=20)) as connection:
            (count,) = connection.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}").fetchone()
        return int(count)

    def log(self) -> str:
        log = self.database.with_suffix(".log")
        return log.read_text() if log.exists() else ""

    def processes(self) -> list[psutil.Process]:
        """Everybody who works for this database, whoever their parents are by now."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return process.environ().get("CENSUS_DATABASE") == str(self.database)
        return False


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A migrated demo; nobody may survive its test."""
    demo = Demo(tmp_path)
    demo.run("migrate", "--verbosity", "0")
    yield demo
    survivors = demo.processes()
    for survivor in survivors:
        survivor.kill()
    for process in demo.started:
        process.communicate()
    assert not survivors


def assert_every_file_was_counted_once(demo: Demo, files: int = LIMIT) -> None:
    matching = "id IN (SELECT task_id FROM census_sourcefile)"
    assert demo.count("census_sourcefile") == files
    assert demo.count("django_cluster_task") == demo.count("django_cluster_task", matching) == files
    assert demo.count("django_cluster_queuedtask") == 0


def test_a_census_counts_every_file(demo: Demo) -> None:
    output = demo.census()

    assert f"Reconciled: {LIMIT} enqueued = " in output
    assert "tasks a second" in output
    assert_every_file_was_counted_once(demo)


def test_broken_files_fail_with_their_reason_and_the_rest_is_counted(demo: Demo, tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "good.py").write_text("import os\n")
    (folder / "badsyntax.py").write_text("def (\n")
    (folder / "badcoding.py").write_text("# coding: uft-8\n")

    output = demo.run("census", "--folder", str(folder))

    assert "badsyntax.py: invalid syntax" in output
    assert "badcoding.py: unknown encoding" in output
    assert "Reconciled: 3 enqueued = 1 succeeded + 2 failed." in output


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT]], ids=["INT", "TERM", "INT twice"]
)
def test_an_interrupted_census_leaves_nobody_and_goes_on(demo: Demo, signals: list[int]) -> None:
    said = demo.interrupted_census(*signals)

    assert "Run it again" in said
    assert not demo.processes()
    assert demo.count("django_cluster_task") < LIMIT

    demo.census()

    assert demo.count("census_census") == 1
    assert_every_file_was_counted_once(demo)


def test_ctrl_c_ends_make_demo_without_an_error(demo: Demo, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    command = ["make", "demo", f"VENV={venv}", f"--old-file={venv}/runtime"]
    (venv / "runtime").touch()

    with Terminal(command, demo.environment, columns=160, lines=40) as terminal:
        wait_until(lambda: demo.count("django_cluster_task") >= 10, within=30, because="no task ended")
        terminal.press("\x03")
        terminal.wait_for_end()

        assert "Run it again" in terminal.text
        assert "***" not in terminal.text
        assert "Error" not in terminal.text


def test_a_killed_census_takes_its_cluster_along_and_goes_on(demo: Demo) -> None:
    demo.interrupted_census(signal.SIGKILL)

    wait_until(lambda: not demo.processes(), within=20, because="the cluster outlived its census")

    demo.census()

    assert_every_file_was_counted_once(demo)


def test_a_census_cut_between_two_batches_forgets_no_file_and_sends_none_twice(demo: Demo, tmp_path: Path) -> None:
    folder, files = tmp_path / "sources", 600
    folder.mkdir()
    for number in range(files):
        (folder / f"{number}.py").touch()
    dies_in_the_second_batch = f"""
import os, pathlib
from django.db import transaction
from example.census import reconciliation
census = reconciliation.open_census(pathlib.Path({str(folder)!r}), None)
reconciliation.enqueue_batch(census)
with transaction.atomic():
    reconciliation.enqueue_batch(census)
    os._exit(9)
"""
    demo.run("shell", "-c", dies_in_the_second_batch, expect=9)

    demo.run("census", "--folder", str(folder))

    assert_every_file_was_counted_once(demo, files)


def test_after_a_complete_census_comes_a_new_one(demo: Demo) -> None:
    demo.run("census", "--limit", "5")

    output = demo.run("census", "--limit", "5")

    assert "Census 2" in output
    assert demo.count("django_cluster_task") == 10


def test_a_cluster_that_dies_is_told_with_the_place_of_its_log(demo: Demo) -> None:
    process = demo.start("census", "--limit", str(LIMIT))
    wait_until(lambda: demo.count("django_cluster_task") >= 10, within=30, because="no task ended")
    (sentinel,) = psutil.Process(process.pid).children()

    sentinel.kill()
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "The cluster ended with exit code -9" in output
    assert "census.log" in output
    wait_until(lambda: not demo.processes(), within=20, because="the crew outlived its sentinel")
