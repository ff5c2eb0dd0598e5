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

from django_cluster.cluster.ipc.channel import ConnectionLost
from django_cluster.cluster.ipc.client import IpcClient
from django_cluster.cluster.ipc.process_row import ProcessState
from django_cluster.cluster.ipc.protocol import BrokerReply, Message
from django_cluster.cluster.ipc.runtime_dir import SocketAddress
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.server import IpcServer, Received
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
def address(tmp_path: Path) -> SocketAddress:
    return SocketAddress(tmp_path / "server", os.urandom(32))


@pytest.fixture
def server(address: SocketAddress) -> Iterator[IpcServer]:
    server = IpcServer(address)
    yield server
    server.close()


def text(value: str) -> BrokerReply:
    """A message with this text."""
    return BrokerReply(0, value)


class MessageLog:
    """What the server has received so far."""

    def __init__(self, server: IpcServer) -> None:
        self._server = server
        self.received: list[Received] = []

    def until(self, condition: Callable[[], object], because: str) -> None:
        def read() -> object:
            self.received += self._server.poll(0.01)
            return condition()

        wait_until(read, within=20, because=because)

    @property
    def messages(self) -> list[Any]:
        return [message for each in self.received for message in each.messages]

    @property
    def ends(self) -> int:
        return sum(each.ended for each in self.received)


# ── what the children do ─────────────────────────────────────────────────────────────────────────


def say_and_wait(address: SocketAddress, *messages: Message) -> None:
    """Say some messages, and stay until killed."""
    line = IpcClient(address)
    line.connect()
    for message in messages:
        line.send(message)
    signal.pause()


def say_and_touch(address: SocketAddress, done: Path, *messages: Message) -> None:
    """Say some messages, show that they are said, and stay until killed."""
    line = IpcClient(address)
    line.connect()
    for message in messages:
        line.send(message)
    done.touch()
    signal.pause()


def say_and_die_halfway(address: SocketAddress) -> None:
    """Die like a process whose last message did not go out whole."""
    line = IpcClient(address)
    line.connect()
    line.send(text("whole"))
    os.write(line.fileno(), b"\0\0\0\xffhalf of it")
    os.kill(os.getpid(), signal.SIGKILL)


def say_without_end(address: SocketAddress, name: str) -> None:
    line = IpcClient(address)
    line.connect()
    number = 0
    with suppress(ConnectionLost):
        while True:
            number += 1
            line.send(BrokerReply(number, name * 1000))


def keep_open(address: SocketAddress) -> None:
    """A server that answers each word, until it is killed."""
    server = IpcServer(address)
    while True:
        for received in server.poll(1):
            for message in received.messages:
                assert isinstance(message, BrokerReply)
                received.connection.send(BrokerReply(os.getpid(), message.error))


def work_on_the_board(path: Path, rows: int, row: int, jobs: int) -> None:
    board = Scoreboard(path, rows)
    for number in range(1, jobs + 1):
        board.begin_job(row, number, float(number), float(number))
        board.finish_job(row)


# ── tests ────────────────────────────────────────────────────────────────────────────────────────


def test_a_killed_peer_ends_its_line_at_once_and_disturbs_no_other(
    server: IpcServer, address: SocketAddress, start: Start
) -> None:
    log = MessageLog(server)
    victim = start(say_and_wait, address, text("victim"))
    start(say_and_wait, address, text("neighbour"))
    log.until(lambda: len(log.messages) == 2, "both have called")

    victim.kill()
    log.until(lambda: log.ends, "the end of the line is the death notice")

    (gone,) = [each.connection for each in log.received if each.ended]
    (victims_line,) = [each.connection for each in log.received if text("victim") in each.messages]
    assert gone is victims_line
    assert len(server.connections) == 1


def test_what_a_killed_peer_had_sent_is_all_heard_before_its_end(
    server: IpcServer, address: SocketAddress, start: Start, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    victim = start(say_and_touch, address, done, *[BrokerReply(number, "word") for number in range(100)])
    wait_until(done.exists, because="not everything was said")

    victim.kill()
    victim.join()
    log = MessageLog(server)
    log.until(lambda: log.ends, "the end")

    assert log.messages == [BrokerReply(number, "word") for number in range(100)]
    assert log.received[-1].ended


def test_the_half_frame_of_a_killed_peer_is_dropped(server: IpcServer, address: SocketAddress, start: Start) -> None:
    log = MessageLog(server)
    start(say_and_die_halfway, address)

    log.until(lambda: log.ends, "the end")

    assert log.messages == [text("whole")]


def test_a_peer_killed_in_the_middle_of_a_flood_leaves_only_whole_messages(
    server: IpcServer, address: SocketAddress, start: Start
) -> None:
    log = MessageLog(server)
    victim = start(say_without_end, address, "victim")
    log.until(lambda: len(log.messages) > 1000, "the flood has begun")

    victim.kill()
    log.until(lambda: log.ends, "the end")

    assert [message.call for message in log.messages] == list(range(1, len(log.messages) + 1))
    assert {len(message.error) for message in log.messages} == {1000 * len("victim")}


def test_a_flood_on_one_line_does_not_hold_up_another(server: IpcServer, address: SocketAddress, start: Start) -> None:
    log = MessageLog(server)
    start(say_without_end, address, "loud")
    log.until(lambda: len(log.messages) > 100, "the flood has begun")

    start(say_and_wait, address, text("quiet"))

    log.until(lambda: text("quiet") in log.messages, "the quiet one is received")


def test_a_message_of_twenty_megabytes_arrives_whole(server: IpcServer, address: SocketAddress, start: Start) -> None:
    log = MessageLog(server)
    start(say_and_wait, address, text("x" * BIG), text("next"))

    log.until(lambda: len(log.messages) == 2, "both messages")

    assert log.messages == [text("x" * BIG), text("next")]


def test_a_process_without_the_key_is_turned_away(
    server: IpcServer, address: SocketAddress, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    log = MessageLog(server)
    start(say_and_wait, SocketAddress(address.path, b"?" * 32), ("let me in",))
    start(say_and_wait, address, text("friend"))

    log.until(lambda: log.messages and "wrong cluster key" in caplog.text, "one is received and one rejected")

    assert log.messages == [text("friend")]


def test_a_line_notices_a_killed_hub_and_finds_its_successor(address: SocketAddress, start: Start) -> None:
    def ask(line: IpcClient) -> Message:
        received: list[Message] = []
        line.send(text("question"))

        def come() -> bool:
            received.extend(line.receive())
            return bool(received)

        wait_until(come, because="the server does not answer")
        return received[0]

    first = start(keep_open, address)
    line = IpcClient(address)
    wait_until(line.connect, because="the server does not read")
    assert ask(line) == (first.pid, "question")

    first.kill()
    wait_until(lambda: not line.receive() and not line.connected, because="the line has not ended")
    assert not line.connect(), "nobody listens at the place of the dead"
    second = start(keep_open, address)
    wait_until(line.connect, because="the successor does not read")

    assert ask(line) == (second.pid, "question")
    line.close()


def test_sending_to_a_killed_hub_says_so(address: SocketAddress, start: Start) -> None:
    server = start(keep_open, address)
    line = IpcClient(address)
    wait_until(line.connect, because="the server does not read")

    server.kill()
    server.join()

    with pytest.raises(ConnectionLost):
        line.send(text("x" * BIG))
    assert not line.connected


def test_processes_write_their_rows_side_by_side_and_anybody_reads(tmp_path: Path, start: Start) -> None:
    board = Scoreboard.create(tmp_path / "scoreboard", 4)
    for row in range(4):
        board.reset_row(row, incarnation=row)
    jobs = 20_000

    processes = [start(work_on_the_board, board.path, board.rows, row, jobs) for row in range(3)]
    seen = [board.read(1) for _ in range(2000)]
    for process in processes:
        process.join()

    assert [board.read(row).done for row in range(4)] == [jobs, jobs, jobs, 0]
    assert board.read(3).state is ProcessState.BOOTING
    assert [row.begun for row in seen] == sorted(row.begun for row in seen)
    assert all(row.started == int(row.started) for row in seen), "a word is never read in halves"
    board.close()
