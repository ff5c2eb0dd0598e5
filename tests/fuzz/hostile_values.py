"""What a message, an attribute or a column may hold when anybody can write there. Found a new one? Add it here."""

from __future__ import annotations

import zlib
from base64 import b64encode
from typing import Any

from hypothesis import strategies as st

from django_cluster.core.codec import Codec
from tests.integration.cluster_harness import CODEC, SETTINGS, body, package


def unsigned(header: bytes, flags: str = "p") -> str:
    """A text in the form of ours that nobody has signed."""
    data = zlib.compress(header) if flags.endswith("z") else header
    return f"dc1{flags}:{b64encode(data).decode()}:{b64encode(bytes(32)).decode()}"


def signed(content: bytes) -> str:
    """What carries our signature, whatever it is."""
    return CODEC.sign(content)


def label(**options: bytes) -> bytes:
    fields = b",".join(b'"%s":%s' % (name.encode(), value) for name, value in options.items())
    return b'{"v":1,"id":"i","name":"n","func":"f","at":1.0,"options":{%s}}\n' % fields


GOOD = CODEC.dumps(package(1))
OTHERS = Codec(SETTINGS.signing.__class__(secret="another", salt="tests")).dumps(package(2))

TEXTS: dict[str, str] = {
    "empty": "",
    "space": " \n\t ",
    "word": "garbage",
    "colons": ":::::",
    "of a later version": GOOD.replace("dc1", "dc2", 1),
    "cut": GOOD[: len(GOOD) // 2],
    "changed": GOOD[:-2] + "AA",
    "another's": OTHERS,
    "in two parts": "dc1p:AAAA",
    "no base64": "dc1p:!!!:???",
    "ticket of nobody": f"dct1:{'0' * 32}:AAAA:AAAA",
    "ticket without an end": "dct1:",
    "not ASCII": "dc1p:é:ü",
    "an emoji": "🙂" * 3,
    "bidi and escape": "\u202e\x1b[2J",
    "percent": "%s %(a)s {0}",
    "SQL": "'; DROP TABLE x; --",
    "JSON": '{"a": [1, NaN]}',
    "pickle": "(dp0\nI1\nI2\ns.",
    "head of Redis": "0:0:x",
    "long head of Redis": "99999999999999999999:99999999999999999999:x",
    "head of Disque": "999999999999:x",
    "other digits": "²:x",
    "large": "x" * 100_000,
    "priority NaN": unsigned(label(priority=b"NaN")),
    "priority 1e999": unsigned(label(priority=b"1e999")),
    "priority text": unsigned(label(priority=b'"high"')),
    "not before 1e300": unsigned(label(not_before=b"1e300")),
    "a chain of numbers": unsigned(label(chain=b"[1,2]")),
    "deep": unsigned(b"[" * 50_000),
    "digits without an end": unsigned(b'{"v":' + b"9" * 5000 + b"}\n"),
    "no object": unsigned(b"17\n"),
    "compressed garbage": f"dc1pz:{b64encode(b'no zlib').decode()}:AAAA",
    "compressed": unsigned(label() + bytes(100_000), "pz"),
    "lone surrogate in the label": unsigned(label(group=rb'"\ud83d"')),
    "zero in the label": unsigned(label(group=rb'"\u0000"')),
}
"""Put aside when they are leased, or given back for others to find: none of them is a task of this cluster."""

SIGNED: dict[str, str] = {
    "nothing": signed(b"p"),
    "no header": signed(b"p\n"),
    "a line end behind it": CODEC.dumps(package(4)) + "\n",
    "no JSON": signed(b"pgarbage\n"),
    "priority NaN": signed(b"p" + label(priority=b"NaN")),
    "lone surrogate": signed(b"p" + label(group=rb'"\ud83d"')),
    "no pickle": signed(body(3) + b"garbage"),
    "compressed garbage": signed(b"Pgarbage"),
}
"""With our own signature: the pusher takes them, the worker puts them aside."""

CANNOT_TRAVEL = ("\0", "a\0b", "\ud83d", "dc1p:\udfff:")
"""Texts that some servers keep, some change, and some refuse."""

VALUES: tuple[Any, ...] = (
    None, True, "", "abc", "²", "9" * 30, "NaN", -1, 0, 1.5, 3_000_000_000, 2**31 - 1, -(2**31), 2**62, 2**63 - 1,
    -(2**63), float("nan"), float("inf"), float("-inf"), 1e300, b"", b"\xff\xfe", [], [5], {}, {"a": 1},
)  # fmt: skip
"""What may stand where a number or a text is meant."""

messages = st.one_of(
    st.sampled_from(list(TEXTS.values())),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50),
    st.from_regex(r"\Adct?1[pjz]{0,3}:[A-Za-z0-9+/=:!]{0,80}\Z"),
)
"""Texts that no cluster has signed; those of ``CANNOT_TRAVEL`` are tried by themselves."""
values = st.one_of(st.sampled_from(VALUES), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=5))
