"""Lines between real processes, some of which are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from django_cluster.cluster.channel import LineDown, Message
from django_cluster.cluster.scoreboard import Scoreboard, State
from django_cluster.cluster.wire import Address, Heard, Hub, Line
from tests.conftest import wait_until

# Whoever runs these tests may have threads; the children of these tests use none of what those hold.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

Start = Callable[..., BaseProcess]
BIG = 20_000_000


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a function in a process of its own; none outlives the test."""
    context = multiprocessing.get_context("fork")
    started: list[Any] = []

    def start_one(function: Callable[..., None], *arguments: Any) -> BaseProcess:
        process = context.Process(target=function, args=arguments)
        process.start()
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.join()
        process.close()


@pytest.fixture
def address(tmp_path: Path) -> Address:
    return Address(tmp_path / "hub", os.urandom(32))


@pytest.fixture
def hub(address: Address) -> Iterator[Hub]:
    hub = Hub(address)
    yield hub
    hub.close()


class Ear:
    """What the hub has heard so far."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.heard: list[Heard] = []

    def until(self, condition: Callable[[], object], because: str) -> None:
        def listen() -> object:
            self.heard += self._hub.poll(0.01)
            return condition()

        wait_until(listen, within=20, because=because)

    @property
    def words(self) -> list[Message]:
        return [message for each in self.heard for message in each.messages]

    @property
    def ends(self) -> int:
        return sum(each.ended for each in self.heard)


# ── what the children do ─────────────────────────────────────────────────────────────────────────


def say_and_wait(address: Address, *messages: Message) -> None:
    """Say some words, and stay until killed."""
    line = Line(address)
    line.connect()
    for message in messages:
        line.send(message)
    signal.pause()


def say_and_touch(address: Address, done: Path, *messages: Message) -> None:
    """Say some words, show that they are said, and stay until killed."""
    line = Line(address)
    line.connect()
    for message in messages:
        line.send(message)
    done.touch()
    signal.pause()


def say_and_die_halfway(address: Address) -> None:
    """Die like a process whose last message did not go out whole."""
    line = Line(address)
    line.connect()
    line.send(("whole",))
    os.write(line.fileno(), b"\0\0\0\xffhalf of it")
    os.kill(os.getpid(), signal.SIGKILL)


def say_without_end(address: Address, name: str) -> None:
    line = Line(address)
    line.connect()
    number = 0
    with suppress(LineDown):
        while True:
            number += 1
            line.send((name, number, b"x" * 1000))


def keep_open(address: Address) -> None:
    """A hub that answers each word, until it is killed."""
    hub = Hub(address)
    while True:
        for heard in hub.poll(1):
            for message in heard.messages:
                heard.peer.send(("answer", os.getpid(), *message))


def work_on_the_board(path: Path, rows: int, row: int, jobs: int) -> None:
    board = Scoreboard(path, rows)
    for number in range(1, jobs + 1):
        board.begin(row, number, float(number), float(number))
        board.finish(row)


# ── tests ────────────────────────────────────────────────────────────────────────────────────────


def test_a_killed_peer_ends_its_line_at_once_and_disturbs_no_other(hub: Hub, address: Address, start: Start) -> None:
    ear = Ear(hub)
    victim = start(say_and_wait, address, ("victim",))
    start(say_and_wait, address, ("neighbour",))
    ear.until(lambda: len(ear.words) == 2, "both have called")

    victim.kill()
    ear.until(lambda: ear.ends, "the end of the line is the death notice")

    (gone,) = [each.peer for each in ear.heard if each.ended]
    (victims_line,) = [each.peer for each in ear.heard if ("victim",) in each.messages]
    assert gone is victims_line
    assert len(hub.peers) == 1


def test_what_a_killed_peer_had_sent_is_all_heard_before_its_end(
    hub: Hub, address: Address, start: Start, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    victim = start(say_and_touch, address, done, *[("word", number) for number in range(100)])
    wait_until(done.exists, because="not everything was said")

    victim.kill()
    victim.join()
    ear = Ear(hub)
    ear.until(lambda: ear.ends, "the end")

    assert ear.words == [("word", number) for number in range(100)]
    assert ear.heard[-1].ended


def test_the_half_frame_of_a_killed_peer_is_dropped(hub: Hub, address: Address, start: Start) -> None:
    ear = Ear(hub)
    start(say_and_die_halfway, address)

    ear.until(lambda: ear.ends, "the end")

    assert ear.words == [("whole",)]


def test_a_peer_killed_in_the_middle_of_a_flood_leaves_only_whole_messages(
    hub: Hub, address: Address, start: Start
) -> None:
    ear = Ear(hub)
    victim = start(say_without_end, address, "victim")
    ear.until(lambda: len(ear.words) > 1000, "the flood has begun")

    victim.kill()
    ear.until(lambda: ear.ends, "the end")

    assert [number for _, number, _ in ear.words] == list(range(1, len(ear.words) + 1))
    assert {len(data) for _, _, data in ear.words} == {1000}


def test_a_flood_on_one_line_does_not_hold_up_another(hub: Hub, address: Address, start: Start) -> None:
    ear = Ear(hub)
    start(say_without_end, address, "loud")
    ear.until(lambda: len(ear.words) > 100, "the flood has begun")

    start(say_and_wait, address, ("quiet",))

    ear.until(lambda: ("quiet",) in ear.words, "the quiet one is heard")


def test_a_message_of_twenty_megabytes_arrives_whole(hub: Hub, address: Address, start: Start) -> None:
    ear = Ear(hub)
    start(say_and_wait, address, ("big", b"x" * BIG), ("next",))

    ear.until(lambda: len(ear.words) == 2, "both messages")

    assert ear.words == [("big", b"x" * BIG), ("next",)]


def test_a_process_without_the_key_is_turned_away(
    hub: Hub, address: Address, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    ear = Ear(hub)
    start(say_and_wait, Address(address.path, b"?" * 32), ("let me in",))
    start(say_and_wait, address, ("friend",))

    ear.until(lambda: ear.words and "turned away" in caplog.text, "one is heard and one turned away")

    assert ear.words == [("friend",)]


def test_a_line_notices_a_killed_hub_and_finds_its_successor(address: Address, start: Start) -> None:
    def ask(line: Line) -> Message:
        received: list[Message] = []
        line.send(("question",))

        def come() -> bool:
            received.extend(line.receive())
            return bool(received)

        wait_until(come, because="the hub does not answer")
        return received[0]

    first = start(keep_open, address)
    line = Line(address)
    wait_until(line.connect, because="the hub does not listen")
    assert ask(line) == ("answer", first.pid, "question")

    first.kill()
    wait_until(lambda: not line.receive() and not line.connected, because="the line has not ended")
    assert not line.connect(), "nobody listens at the place of the dead"
    second = start(keep_open, address)
    wait_until(line.connect, because="the successor does not listen")

    assert ask(line) == ("answer", second.pid, "question")
    line.close()


def test_sending_to_a_killed_hub_says_so(address: Address, start: Start) -> None:
    hub = start(keep_open, address)
    line = Line(address)
    wait_until(line.connect, because="the hub does not listen")

    hub.kill()
    hub.join()

    with pytest.raises(LineDown):
        line.send(("outcome", b"x" * BIG))
    assert not line.connected


def test_processes_write_their_rows_side_by_side_and_anybody_reads(tmp_path: Path, start: Start) -> None:
    board = Scoreboard.create(tmp_path / "scoreboard", 4)
    for row in range(4):
        board.clear(row, seat=row)
    jobs = 20_000

    processes = [start(work_on_the_board, board.path, board.rows, row, jobs) for row in range(3)]
    seen = [board.read(1) for _ in range(2000)]
    for process in processes:
        process.join()

    assert [board.read(row).done for row in range(4)] == [jobs, jobs, jobs, 0]
    assert board.read(3).state is State.BOOTING
    assert [row.begun for row in seen] == sorted(row.begun for row in seen)
    assert all(row.started == int(row.started) for row in seen), "a word is never read in halves"
    board.close()
