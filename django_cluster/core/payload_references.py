"""References: what a broker carries instead of a payload that is too large for it.

Layout, version 1 (ASCII)::

    dct1 ":" id ":" base64(label) ":" base64(HMAC-SHA256 of all before the last colon)

    id      32 hexadecimal digits: the row of the database that keeps the payload
    label   the header of the package, so that a task whose row is gone still has a name; may be empty

A reference is accepted only with a valid signature, because the end of its message deletes the row.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from typing import NamedTuple

from django_cluster.core.reprs import repr_of
from django_cluster.core.signing import is_verified, sign

REFERENCE_PREFIX = "dct1:"
ID_LENGTH = 32
PARTS = 4


class PayloadReference(NamedTuple):
    """The contents of a reference."""

    id: str
    label: bytes

    def __repr__(self) -> str:
        return repr_of(self, "id")


def write_reference(key: bytes, reference: PayloadReference) -> str:
    """Signed text."""
    signed = f"{REFERENCE_PREFIX}{reference.id}:".encode("ascii") + b2a_base64(reference.label, newline=False)
    return (signed + b":" + b2a_base64(sign(key, signed), newline=False)).decode("ascii")


def read_reference(keys: Sequence[bytes], text: str) -> PayloadReference | None:
    """None for whatever is no reference, or not signed with one of the keys."""
    if not text.startswith(REFERENCE_PREFIX):
        return None
    parts = text.split(":")
    if len(parts) != PARTS or len(parts[1]) != ID_LENGTH:
        return None
    try:
        authentic = is_verified(keys, text.rpartition(":")[0].encode("ascii"), a2b_base64(parts[3]))
        return PayloadReference(parts[1], a2b_base64(parts[2])) if authentic else None
    except (Base64Error, ValueError):
        return None
