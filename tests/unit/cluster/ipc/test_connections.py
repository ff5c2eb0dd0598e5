"""The cutting of a stream into frames, and the manners of both ends, within one process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.cluster.ipc.channel import LENGTH, Channel, ConnectionLost, frame
from django_cluster.cluster.ipc.client import IpcClient
from django_cluster.cluster.ipc.protocol import BrokerReply, Message, encode
from django_cluster.cluster.ipc.runtime_dir import SocketAddress
from django_cluster.cluster.ipc.server import IpcServer, Received
from tests.conftest import wait_until

messages = st.lists(st.binary(), max_size=6)


class Ends:
    """A channel, and the bare socket at its other end."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.channel = Channel(ours)

    def __enter__(self) -> Ends:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self.theirs.close()


def until_eof(channel: Channel) -> list[bytearray]:
    """Everything that is said until the other end is gone."""
    arrived, alive = channel.receive()
    while alive:
        more, alive = channel.receive()
        arrived += more
    return arrived


@settings(deadline=None)
@given(messages, st.data())
def test_frames_come_together_however_the_stream_was_cut(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    arrived: list[bytearray] = []

    with Ends() as ends:
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            ends.theirs.sendall(stream[start:end])
            more, alive = ends.channel.receive()
            arrived += more
            assert alive

    assert arrived == sent


@settings(deadline=None)
@given(messages, st.binary(), st.data())
def test_half_a_frame_at_the_end_of_a_line_is_dropped(sent: list[bytes], last: bytes, data: st.DataObject) -> None:
    half = frame(last)[: data.draw(st.integers(0, len(frame(last)) - 1))]

    with Ends() as ends:
        ends.theirs.sendall(b"".join(map(frame, sent)) + half)
        ends.theirs.close()
        arrived = until_eof(ends.channel)

    assert arrived == sent


def test_what_was_said_before_the_end_is_still_heard() -> None:
    with Ends() as ends:
        ends.theirs.sendall(frame(b"last words"))
        ends.theirs.close()

        assert until_eof(ends.channel) == [b"last words"]


def test_a_channel_keeps_what_the_socket_does_not_take() -> None:
    with Ends() as ends:
        ends.theirs.setblocking(False)
        big = b"x" * 20_000_000
        ends.channel.send(big)
        ends.channel.send(b"next")
        assert ends.channel.has_unsent
        whole, stream = frame(big) + frame(b"next"), b""
        while len(stream) < len(whole):
            stream += ends.theirs.recv(1 << 20)
            ends.channel.flush()

    assert stream == whole


def test_sending_to_nobody_is_a_line_down() -> None:
    with Ends() as ends:
        ends.theirs.close()

        with pytest.raises(ConnectionLost):
            ends.channel.send(b"anybody?")


# ── server and line ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def address(tmp_path: Path) -> SocketAddress:
    return SocketAddress(tmp_path / "server", b"the key")


@pytest.fixture
def server(address: SocketAddress) -> Iterator[IpcServer]:
    server = IpcServer(address)
    yield server
    server.close()


def text(value: str) -> BrokerReply:
    """A message with this text."""
    return BrokerReply(0, value)


def heard_by(server: IpcServer, enough: int = 1) -> list[Received]:
    """What the server hears until it has received so many messages or ends."""
    received: list[Received] = []

    def come() -> bool:
        received.extend(server.poll(0.01))
        return sum(len(each.messages) + each.ended for each in received) >= enough

    wait_until(come, because="the server received nothing")
    return received


def said(received: list[Received]) -> list[Message]:
    return [message for each in received for message in each.messages]


def answers(line: IpcClient) -> list[Message]:
    arrived: list[Message] = []

    def come() -> bool:
        arrived.extend(line.receive())
        return bool(arrived) or not line.connected

    wait_until(come, because="no answer came")
    return arrived


def test_a_line_and_the_hub_speak_with_each_other(server: IpcServer, address: SocketAddress) -> None:
    line = IpcClient(address)
    assert line.connect()

    line.send(BrokerReply(1, None))
    (received,) = heard_by(server)
    received.connection.send(BrokerReply(2, None))

    assert received.messages == [BrokerReply(1, None)]
    assert answers(line) == [BrokerReply(2, None)]
    line.close()


def test_the_key_itself_is_no_message(server: IpcServer, address: SocketAddress) -> None:
    line = IpcClient(address)
    line.connect()
    line.send(text("hello"))

    assert said(heard_by(server)) == [text("hello")]
    line.close()


def test_the_end_of_a_line_is_heard_after_its_last_words(server: IpcServer, address: SocketAddress) -> None:
    line = IpcClient(address)
    line.connect()
    line.send(BrokerReply(1, None))
    line.send(BrokerReply(2, None))
    line.close()

    received = heard_by(server, enough=3)

    assert said(received) == [BrokerReply(1, None), BrokerReply(2, None)]
    assert [each.ended for each in received] == [False] * (len(received) - 1) + [True]
    assert server.connections == set()


def test_nobody_listens(address: SocketAddress) -> None:
    line = IpcClient(address)

    assert not line.connect()
    assert not line.connected
    assert line.receive() == []
    with pytest.raises(ConnectionLost):
        line.send(text("anybody?"))
    with pytest.raises(ConnectionLost):
        line.fileno()


@pytest.mark.parametrize(
    "greeting",
    [
        b"a wrong" + frame(encode(BrokerReply(1, None))),
        frame(encode(BrokerReply(1, None))),
        frame(b"the key"),
        LENGTH.pack(3) + b"abcdef",
        b"\0" * 100_000,
        b"the ke",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["wrong key", "no key", "in a frame", "no marshal", "zeros", "half a key", "HTTP"],
)
def test_a_stranger_is_turned_away_and_not_heard(server: IpcServer, address: SocketAddress, greeting: bytes) -> None:
    friend = IpcClient(address)
    friend.connect()
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stranger.connect(str(address.path))
    stranger.sendall(greeting)
    stranger.shutdown(socket.SHUT_WR)

    friend.send(text("friend"))
    received = heard_by(server, enough=2)

    assert said(received) == [text("friend")]
    assert stranger.recv(100) == b""
    stranger.close()
    friend.close()


def test_whoever_calls_and_leaves_at_once_harms_nobody(server: IpcServer, address: SocketAddress) -> None:
    for _ in range(20):
        line = IpcClient(address)
        line.connect()
        line.close()

    assert said(heard_by(server, enough=20)) == []
    assert server.connections == set()


def test_speaking_to_a_peer_that_is_gone_harms_nobody(server: IpcServer, address: SocketAddress) -> None:
    line = IpcClient(address)
    line.connect()
    line.send(text("hello"))
    (received,) = heard_by(server)
    line.close()

    received.connection.send(text("x" * 1_000_000))
    (end,) = heard_by(server)
    received.connection.send(text(""))

    assert end.ended


def test_a_message_of_twenty_megabytes_arrives_whole_in_either_direction(
    server: IpcServer, address: SocketAddress
) -> None:
    big = text("x" * 20_000_000)
    line = IpcClient(address)
    line.connect()
    line.send(text("hello"))
    (received,) = heard_by(server)

    received.connection.send(big)
    arrived: list[Message] = []

    def come() -> bool:
        server.poll(0)
        arrived.extend(line.receive())
        return bool(arrived)

    wait_until(come, within=20, because="the large message did not come")
    assert arrived == [big]
    line.close()


def test_a_hub_that_takes_nothing_is_given_up_after_a_while(server: IpcServer, address: SocketAddress) -> None:
    line = IpcClient(address, patience=0.05)
    line.connect()

    with pytest.raises(ConnectionLost):
        line.send(text("x" * 20_000_000))

    assert not line.connected


def test_a_hub_takes_the_place_of_a_dead_predecessor(address: SocketAddress) -> None:
    predecessor = IpcServer(address)
    line = IpcClient(address)
    line.connect()
    predecessor.close()
    assert answers(line) == []
    assert not line.connected
    assert not line.connect()

    successor = IpcServer(address)

    assert line.connect()
    line.send(text("again"))
    assert said(heard_by(successor)) == [text("again")]
    assert [path.name for path in Path(address.path).parent.iterdir()] == ["server"]
    line.close()
    successor.close()


def test_the_hub_also_wakes_for_something_else(server: IpcServer) -> None:
    ours, theirs = socket.socketpair()
    server.add_wakeup(theirs.fileno())
    ours.sendall(b"!")

    assert server.poll(30) == []
    ours.close()
    theirs.close()


def test_a_chatty_peer_does_not_starve_the_others(server: IpcServer, address: SocketAddress) -> None:
    chatty, quiet = IpcClient(address), IpcClient(address)
    for line in (chatty, quiet):
        line.connect()
    server.poll(1)
    chatty.send(text("chat"))
    quiet.send(text("word"))

    received = said(heard_by(server, enough=2))

    assert sorted(received) == [text("chat"), text("word")]
    chatty.close()
    quiet.close()
