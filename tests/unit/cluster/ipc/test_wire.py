"""The cutting of a stream into frames, and the manners of both ends, within one process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.cluster.ipc.channel import LENGTH, Channel, ConnectionLost, Message, encode
from django_cluster.cluster.ipc.wire import IpcClient, IpcServer, Received, SocketAddress
from tests.conftest import wait_until

plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)
messages = st.lists(st.lists(plain, min_size=1, max_size=4).map(tuple), max_size=6)


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


def until_eof(channel: Channel) -> list[Message]:
    """Everything that is said until the other end is gone."""
    arrived, alive = channel.receive()
    while alive:
        more, alive = channel.receive()
        arrived += more
    return arrived


@settings(deadline=None)
@given(messages, st.data())
def test_frames_come_together_however_the_stream_was_cut(sent: list[Message], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    arrived: list[Message] = []

    with Ends() as ends:
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            ends.theirs.sendall(stream[start:end])
            more, alive = ends.channel.receive()
            arrived += more
            assert alive

    assert arrived == sent


@settings(deadline=None)
@given(messages, st.tuples(plain, plain), st.data())
def test_half_a_frame_at_the_end_of_a_line_is_dropped(sent: list[Message], last: Message, data: st.DataObject) -> None:
    half = encode(last)[: data.draw(st.integers(0, len(encode(last)) - 1))]

    with Ends() as ends:
        ends.theirs.sendall(b"".join(map(encode, sent)) + half)
        ends.theirs.close()
        arrived = until_eof(ends.channel)

    assert arrived == sent


def test_what_was_said_before_the_end_is_still_heard() -> None:
    with Ends() as ends:
        ends.theirs.sendall(encode(("last words",)))
        ends.theirs.close()

        assert until_eof(ends.channel) == [("last words",)]


def test_a_channel_keeps_what_the_socket_does_not_take() -> None:
    with Ends() as ends:
        ends.theirs.setblocking(False)
        big = ("x" * 20_000_000,)
        ends.channel.send(big)
        ends.channel.send(("next",))
        assert ends.channel.has_unsent
        whole, stream = encode(big) + encode(("next",)), b""
        while len(stream) < len(whole):
            stream += ends.theirs.recv(1 << 20)
            ends.channel.flush()

    assert stream == whole


def test_sending_to_nobody_is_a_line_down() -> None:
    with Ends() as ends:
        ends.theirs.close()

        with pytest.raises(ConnectionLost):
            ends.channel.send(("anybody?",))


# ── server and line ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def address(tmp_path: Path) -> SocketAddress:
    return SocketAddress(tmp_path / "server", b"the key")


@pytest.fixture
def server(address: SocketAddress) -> Iterator[IpcServer]:
    server = IpcServer(address)
    yield server
    server.close()


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

    line.send(("hello", 1))
    (received,) = heard_by(server)
    received.connection.send(("welcome", [1, 2]))

    assert received.messages == [("hello", 1)]
    assert answers(line) == [("welcome", [1, 2])]
    line.close()


def test_the_key_itself_is_no_message(server: IpcServer, address: SocketAddress) -> None:
    line = IpcClient(address)
    line.connect()
    line.send(("hello",))

    assert said(heard_by(server)) == [("hello",)]
    line.close()


def test_the_end_of_a_line_is_heard_after_its_last_words(server: IpcServer, address: SocketAddress) -> None:
    line = IpcClient(address)
    line.connect()
    line.send(("outcome", 1))
    line.send(("outcome", 2))
    line.close()

    received = heard_by(server, enough=3)

    assert said(received) == [("outcome", 1), ("outcome", 2)]
    assert [each.ended for each in received] == [False] * (len(received) - 1) + [True]
    assert server.connections == set()


def test_nobody_listens(address: SocketAddress) -> None:
    line = IpcClient(address)

    assert not line.connect()
    assert not line.connected
    assert line.receive() == []
    with pytest.raises(ConnectionLost):
        line.send(("anybody?",))
    with pytest.raises(ConnectionLost):
        line.fileno()


@pytest.mark.parametrize(
    "greeting",
    [
        b"a wrong" + encode(("hello", 1)),
        encode(("hello", 1)),
        encode((b"the key",)),
        LENGTH.pack(3) + b"abcdef",
        b"\0" * 100_000,
        b"the ke",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["wrong key", "no key", "as a message", "no marshal", "zeros", "half a key", "HTTP"],
)
def test_a_stranger_is_turned_away_and_not_heard(server: IpcServer, address: SocketAddress, greeting: bytes) -> None:
    friend = IpcClient(address)
    friend.connect()
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stranger.connect(str(address.path))
    stranger.sendall(greeting)
    stranger.shutdown(socket.SHUT_WR)

    friend.send(("hello", "friend"))
    received = heard_by(server, enough=2)

    assert said(received) == [("hello", "friend")]
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
    line.send(("hello",))
    (received,) = heard_by(server)
    line.close()

    received.connection.send(("jobs", "x" * 1_000_000))
    (end,) = heard_by(server)
    received.connection.send(("jobs", []))

    assert end.ended


def test_a_message_of_twenty_megabytes_arrives_whole_in_either_direction(
    server: IpcServer, address: SocketAddress
) -> None:
    big = ("outcome", b"x" * 20_000_000)
    line = IpcClient(address)
    line.connect()
    line.send(("hello",))
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
        line.send(("outcome", b"x" * 20_000_000))

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
    line.send(("hello", "again"))
    assert said(heard_by(successor)) == [("hello", "again")]
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
    chatty.send(("chat",))
    quiet.send(("word",))

    received = said(heard_by(server, enough=2))

    assert sorted(received) == [("chat",), ("word",)]
    chatty.close()
    quiet.close()
