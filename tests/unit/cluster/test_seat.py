"""Seats and orders: what a child is given, and how it hears that it is to leave."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path

import pytest

from django_cluster.cluster.scoreboard import ORDER, Order, Scoreboard
from django_cluster.cluster.seat import Folder, Orders, Role, Seat


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
    orders = Orders(pipe[1], board, 0)

    assert not orders.leave
    assert not orders.orphaned


def test_an_order_wakes_the_child_and_stays_an_order(board: Scoreboard, pipe: tuple[Connection, Connection]) -> None:
    ours, theirs = pipe
    orders = Orders(theirs, board, 0)

    board.set(0, ORDER, Order.LEAVE)
    os.write(ours.fileno(), b"!")

    assert wait([orders.fileno()], 5)
    assert orders.leave
    assert not wait([orders.fileno()], 0), "the byte was read, so that nobody is woken twice"
    assert orders.leave


def test_a_knock_alone_is_no_order(board: Scoreboard, pipe: tuple[Connection, Connection]) -> None:
    ours, theirs = pipe

    os.write(ours.fileno(), b"!")

    assert not Orders(theirs, board, 0).leave


def test_the_order_of_another_row_is_for_another_child(board: Scoreboard, pipe: tuple[Connection, Connection]) -> None:
    board.set(1, ORDER, Order.LEAVE)

    assert not Orders(pipe[1], board, 0).leave


def test_a_child_whose_sentinel_is_dead_knows_it(board: Scoreboard, pipe: tuple[Connection, Connection]) -> None:
    ours, theirs = pipe
    orders = Orders(theirs, board, 0)

    ours.close()

    assert wait([orders.fileno()], 5)
    assert orders.leave
    assert orders.orphaned


def test_a_seat_can_be_sent_to_a_new_process(tmp_path: Path) -> None:
    seat = Seat(Role.WORKER, 1, 7, 3, Folder(tmp_path, b"key", 8), (0, 1), own_group=True)

    assert pickle.loads(pickle.dumps(seat)) == seat


@pytest.mark.parametrize(
    ("role", "name"), [(Role.WORKER, "worker 2"), (Role.MONITOR, "monitor"), (Role.PUSHER, "pusher")]
)
def test_a_seat_has_a_name_for_people(role: Role, name: str, tmp_path: Path) -> None:
    assert Seat(role, 1, 7, 3, Folder(tmp_path, b"key", 8)).name == name


def test_the_two_sockets_of_a_folder_are_not_the_same(tmp_path: Path) -> None:
    folder = Folder(tmp_path, b"key", 8)

    assert folder.jobs.path != folder.reports.path
    assert folder.jobs.key == folder.reports.key == b"key"
