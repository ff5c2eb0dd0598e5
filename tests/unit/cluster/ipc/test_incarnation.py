"""Incarnations and control: what a child is given, and how it hears that it is to leave."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path

import pytest

from django_cluster.cluster.ipc.control_pipe import ControlPipe
from django_cluster.cluster.ipc.incarnation import Incarnation, ProcessRole
from django_cluster.cluster.ipc.process_row import ProcessCommand
from django_cluster.cluster.ipc.runtime_dir import RuntimeDir
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.words import COMMAND


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Scoreboard]:
    board = Scoreboard.create(tmp_path / "scoreboard", 2)
    yield board
    board.close()


@pytest.fixture
def pipe() -> Iterator[tuple[Connection, Connection]]:
    ours, theirs = Pipe()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_child_stays_until_it_is_told(board: Scoreboard, pipe: tuple[Connection, Connection]) -> None:
    control = ControlPipe(pipe[1], board, 0)

    assert not control.stop_requested
    assert not control.orphaned


def test_an_order_wakes_the_child_and_stays_an_order(board: Scoreboard, pipe: tuple[Connection, Connection]) -> None:
    ours, theirs = pipe
    control = ControlPipe(theirs, board, 0)

    board.set(0, COMMAND, ProcessCommand.STOP)
    os.write(ours.fileno(), b"!")

    assert wait([control.fileno()], 5)
    assert control.stop_requested
    assert not wait([control.fileno()], 0), "the byte was read, so that nobody is woken twice"
    assert control.stop_requested


def test_a_knock_alone_is_no_order(board: Scoreboard, pipe: tuple[Connection, Connection]) -> None:
    ours, theirs = pipe

    os.write(ours.fileno(), b"!")

    assert not ControlPipe(theirs, board, 0).stop_requested


def test_the_order_of_another_row_is_for_another_child(board: Scoreboard, pipe: tuple[Connection, Connection]) -> None:
    board.set(1, COMMAND, ProcessCommand.STOP)

    assert not ControlPipe(pipe[1], board, 0).stop_requested


def test_a_child_whose_sentinel_is_dead_knows_it(board: Scoreboard, pipe: tuple[Connection, Connection]) -> None:
    ours, theirs = pipe
    control = ControlPipe(theirs, board, 0)

    ours.close()

    assert wait([control.fileno()], 5)
    assert control.stop_requested
    assert control.orphaned


def test_a_seat_can_be_sent_to_a_new_process(tmp_path: Path) -> None:
    incarnation = Incarnation(ProcessRole.WORKER, 1, 7, 3, RuntimeDir(tmp_path, b"key", 8), (0, 1), own_group=True)

    assert pickle.loads(pickle.dumps(incarnation)) == incarnation


@pytest.mark.parametrize(
    ("role", "name"),
    [(ProcessRole.WORKER, "worker 2"), (ProcessRole.MONITOR, "monitor"), (ProcessRole.PUSHER, "pusher")],
)
def test_a_seat_has_a_name_for_people(role: ProcessRole, name: str, tmp_path: Path) -> None:
    assert Incarnation(role, 1, 7, 3, RuntimeDir(tmp_path, b"key", 8)).name == name


def test_the_two_sockets_of_a_folder_are_not_the_same(tmp_path: Path) -> None:
    runtime_dir = RuntimeDir(tmp_path, b"key", 8)

    assert runtime_dir.pusher_socket.path != runtime_dir.monitor_socket.path
    assert runtime_dir.pusher_socket.key == runtime_dir.monitor_socket.key == b"key"
