"""Entries of the queue in Redis, as ``redis_scripts`` describes them, and the arguments of the scripts."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Iterator, Sequence

from django_cluster.brokers.messages import Message, QueuedMessage
from django_cluster.core.batching import batches

MAX_CALL_MESSAGES, MAX_CALL_CHARACTERS = 1000, 4_000_000
"""Most messages and characters in one call of a script: Lua's stack is limited, and other clients wait meanwhile."""

DELAYED_HEAD = re.compile(rb"\A[0-9]+:")
ENTRY_HEAD = re.compile(rb"(-?[0-9]{1,9}):([0-9]{1,9}):")


def enqueue_calls(messages: Sequence[Message]) -> Iterator[list[str]]:
    """The arguments of ``ENQUEUE`` for these messages, in batches: one call a priority, one for delayed messages."""
    if len(messages) == 1 and messages[0].not_before is None:  # what a view sends
        message = messages[0]
        yield [str(message.priority), f"{message.priority}:{message.attempts}:{message.payload}"]
        return
    moment = time.time()
    groups: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for message in messages:
        entry = f"{message.priority}:{message.attempts}:{message.payload}"
        due = message.not_before if message.not_before is not None and message.not_before > moment else None
        head = "" if due is not None else str(message.priority)
        call = groups.get(head)
        if call and (len(call) > MAX_CALL_MESSAGES or sizes[head] + len(entry) > MAX_CALL_CHARACTERS):
            yield call
            call = None
        if call is None:
            call, sizes[head] = [head], 0
            groups[head] = call
        call += [entry] if due is None else [str(math.ceil(due * 1000)), entry]
        sizes[head] += len(entry)
    yield from groups.values()


def unique_calls(messages: Sequence[Message], names: Sequence[str]) -> Iterator[list[str]]:
    """The arguments of ``ENQUEUE_UNIQUE`` for these messages, in batches."""
    moment, call, size = time.time(), list[str](), 0
    for message, name in zip(messages, names, strict=True):
        entry = f"{message.priority}:0:{message.payload}"
        if call and (len(call) >= 4 * MAX_CALL_MESSAGES or size + len(entry) > MAX_CALL_CHARACTERS):
            yield call
            call, size = [], 0
        late = message.not_before is not None and message.not_before > moment
        due = str(math.ceil((message.not_before or 0) * 1000)) if late else ""
        call += [name, str(message.priority), due, entry]
        size += len(entry)
    if call:
        yield call


def call_batches(receipts: Sequence[str]) -> Iterator[list[str]]:
    """Each receipt once, in batches that a script accepts."""
    return batches(dict.fromkeys(receipts), most=MAX_CALL_MESSAGES)


def receipt_of(prefix: str, place: int) -> str:
    """The receipt that ``LEASE`` gives to the message at this place."""
    return f"{prefix}:{place:04d}"


def milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def queued_message(entry: bytes, due: float | None, *, leased: bool = False) -> QueuedMessage:
    priority, attempts, payload = parse_entry(entry)
    return QueuedMessage(
        payload, priority, attempts + leased, None if due is None else due / 1000, leased, fingerprint(entry)
    )


def literal_pattern(text: str) -> str:
    """The text with the special characters of Redis patterns escaped."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


def fingerprint(entry: bytes) -> str:
    """SHA-1 of the payload: names a message for ``cancel``, and stays the same for its whole life."""
    head = ENTRY_HEAD.match(entry)
    return hashlib.sha1(entry[head.end() if head else 0 :], usedforsecurity=False).hexdigest()


def parse_entry(entry: bytes) -> tuple[int, int, str]:
    """Priority, earlier attempts and payload. Text that is no entry is all payload."""
    head = ENTRY_HEAD.match(entry)
    if head is None:
        return 0, 0, shown_text(entry)
    return int(head[1]), int(head[2]), shown_text(entry[head.end() :])


def shown_text(raw: bytes) -> str:
    """ASCII text; other bytes, which only other programs can have written, as ``\\xff``."""
    return raw.decode("ascii", "backslashreplace")


def without_number(member: bytes) -> bytes:
    """The entry of a member of the delayed set, which begins with a number."""
    return DELAYED_HEAD.sub(b"", member, count=1)
