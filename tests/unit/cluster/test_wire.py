"""The cutting of a stream into frames, and the manners of both ends, within one process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.cluster.channel import LENGTH, Channel, LineDown, Message, pack
from django_cluster.cluster.wire import Address, Heard, Hub, Line
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


def to_the_end(channel: Channel) -> list[Message]:
    """Everything that is said until the other end is gone."""
    received, alive = channel.receive()
    while alive:
        more, alive = channel.receive()
        received += more
    return received


@settings(deadline=None)
@given(messages, st.data())
def test_frames_come_together_however_the_stream_was_cut(sent: list[Message], data: st.DataObject) -> None:
    stream = b"".join(map(pack, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    received: list[Message] = []

    with Ends() as ends:
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            ends.theirs.sendall(stream[start:end])
            more, alive = ends.channel.receive()
            received += more
            assert alive

    assert received == sent


@settings(deadline=None)
@given(messages, st.tuples(plain, plain), st.data())
def test_half_a_frame_at_the_end_of_a_line_is_dropped(sent: list[Message], last: Message, data: st.DataObject) -> None:
    half = pack(last)[: data.draw(st.integers(0, len(pack(last)) - 1))]

    with Ends() as ends:
        ends.theirs.sendall(b"".join(map(pack, sent)) + half)
        ends.theirs.close()
        received = to_the_end(ends.channel)

    assert received == sent


def test_what_was_said_before_the_end_is_still_heard() -> None:
    with Ends() as ends:
        ends.theirs.sendall(pack(("last words",)))
        ends.theirs.close()

        assert to_the_end(ends.channel) == [("last words",)]


def test_a_channel_keeps_what_the_socket_does_not_take() -> None:
    with Ends() as ends:
        ends.theirs.setblocking(False)
        big = ("x" * 20_000_000,)
        ends.channel.send(big)
        ends.channel.send(("next",))
        assert ends.channel.sending
        whole, stream = pack(big) + pack(("next",)), b""
        while len(stream) < len(whole):
            stream += ends.theirs.recv(1 << 20)
            ends.channel.flush()

    assert stream == whole


def test_sending_to_nobody_is_a_line_down() -> None:
    with Ends() as ends:
        ends.theirs.close()

        with pytest.raises(LineDown):
            ends.channel.send(("anybody?",))


# ── hub and line ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def address(tmp_path: Path) -> Address:
    return Address(tmp_path / "hub", b"the key")


@pytest.fixture
def hub(address: Address) -> Iterator[Hub]:
    hub = Hub(address)
    yield hub
    hub.close()


def heard_by(hub: Hub, enough: int = 1) -> list[Heard]:
    """What the hub hears until it has heard so many messages or ends."""
    heard: list[Heard] = []

    def come() -> bool:
        heard.extend(hub.poll(0.01))
        return sum(len(each.messages) + each.ended for each in heard) >= enough

    wait_until(come, because="the hub heard nothing")
    return heard


def said(heard: list[Heard]) -> list[Message]:
    return [message for each in heard for message in each.messages]


def answers(line: Line) -> list[Message]:
    received: list[Message] = []

    def come() -> bool:
        received.extend(line.receive())
        return bool(received) or not line.connected

    wait_until(come, because="no answer came")
    return received


def test_a_line_and_the_hub_speak_with_each_other(hub: Hub, address: Address) -> None:
    line = Line(address)
    assert line.connect()

    line.send(("hello", 1))
    (heard,) = heard_by(hub)
    heard.peer.send(("welcome", [1, 2]))

    assert heard.messages == [("hello", 1)]
    assert answers(line) == [("welcome", [1, 2])]
    line.close()


def test_the_key_itself_is_no_message(hub: Hub, address: Address) -> None:
    line = Line(address)
    line.connect()
    line.send(("hello",))

    assert said(heard_by(hub)) == [("hello",)]
    line.close()


def test_the_end_of_a_line_is_heard_after_its_last_words(hub: Hub, address: Address) -> None:
    line = Line(address)
    line.connect()
    line.send(("outcome", 1))
    line.send(("outcome", 2))
    line.close()

    heard = heard_by(hub, enough=3)

    assert said(heard) == [("outcome", 1), ("outcome", 2)]
    assert [each.ended for each in heard] == [False] * (len(heard) - 1) + [True]
    assert hub.peers == set()


def test_nobody_listens(address: Address) -> None:
    line = Line(address)

    assert not line.connect()
    assert not line.connected
    assert line.receive() == []
    with pytest.raises(LineDown):
        line.send(("anybody?",))
    with pytest.raises(LineDown):
        line.fileno()


@pytest.mark.parametrize(
    "greeting",
    [
        b"a wrong" + pack(("hello", 1)),
        pack(("hello", 1)),
        pack((b"the key",)),
        LENGTH.pack(3) + b"abcdef",
        b"\0" * 100_000,
        b"the ke",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["wrong key", "no key", "as a message", "no marshal", "zeros", "half a key", "HTTP"],
)
def test_a_stranger_is_turned_away_and_not_heard(hub: Hub, address: Address, greeting: bytes) -> None:
    friend = Line(address)
    friend.connect()
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stranger.connect(str(address.path))
    stranger.sendall(greeting)
    stranger.shutdown(socket.SHUT_WR)

    friend.send(("hello", "friend"))
    heard = heard_by(hub, enough=2)

    assert said(heard) == [("hello", "friend")]
    assert stranger.recv(100) == b""
    stranger.close()
    friend.close()


def test_whoever_calls_and_leaves_at_once_harms_nobody(hub: Hub, address: Address) -> None:
    for _ in range(20):
        line = Line(address)
        line.connect()
        line.close()

    assert said(heard_by(hub, enough=20)) == []
    assert hub.peers == set()


def test_speaking_to_a_peer_that_is_gone_harms_nobody(hub: Hub, address: Address) -> None:
    line = Line(address)
    line.connect()
    line.send(("hello",))
    (heard,) = heard_by(hub)
    line.close()

    heard.peer.send(("jobs", "x" * 1_000_000))
    (end,) = heard_by(hub)
    heard.peer.send(("jobs", []))

    assert end.ended


def test_a_message_of_twenty_megabytes_arrives_whole_in_either_direction(hub: Hub, address: Address) -> None:
    big = ("outcome", b"x" * 20_000_000)
    line = Line(address)
    line.connect()
    line.send(("hello",))
    (heard,) = heard_by(hub)

    heard.peer.send(big)
    received: list[Message] = []

    def come() -> bool:
        hub.poll(0)
        received.extend(line.receive())
        return bool(received)

    wait_until(come, within=20, because="the large message did not come")
    assert received == [big]
    line.close()


def test_a_hub_that_takes_nothing_is_given_up_after_a_while(hub: Hub, address: Address) -> None:
    line = Line(address, patience=0.05)
    line.connect()

    with pytest.raises(LineDown):
        line.send(("outcome", b"x" * 20_000_000))

    assert not line.connected


def test_a_hub_takes_the_place_of_a_dead_predecessor(address: Address) -> None:
    predecessor = Hub(address)
    line = Line(address)
    line.connect()
    predecessor.close()
    assert answers(line) == []
    assert not line.connected
    assert not line.connect()

    successor = Hub(address)

    assert line.connect()
    line.send(("hello", "again"))
    assert said(heard_by(successor)) == [("hello", "again")]
    assert [path.name for path in Path(address.path).parent.iterdir()] == ["hub"]
    line.close()
    successor.close()


def test_the_hub_also_wakes_for_something_else(hub: Hub) -> None:
    ours, theirs = socket.socketpair()
    hub.also_wake_for(theirs.fileno())
    ours.sendall(b"!")

    assert hub.poll(30) == []
    ours.close()
    theirs.close()


def test_a_chatty_peer_does_not_starve_the_others(hub: Hub, address: Address) -> None:
    chatty, quiet = Line(address), Line(address)
    for line in (chatty, quiet):
        line.connect()
    hub.poll(1)
    chatty.send(("chat",))
    quiet.send(("word",))

    heard = said(heard_by(hub, enough=2))

    assert sorted(heard) == [("chat",), ("word",)]
    chatty.close()
    quiet.close()
