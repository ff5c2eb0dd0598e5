"""The layout of a signed message: its parts, kinds of bodies, and decompression with a limit."""

from __future__ import annotations

from django_cluster.core.compression import ZLIB, ZSTD, Decompressor
from django_cluster.errors import UnknownFormat

VERSION = "dc1"

CHUNK_BYTES = 1 << 14
"""Bytes that are decompressed at a time until the end of a header is found."""

FLAGS = {b"p": "p", b"P": "pz", b"Q": "ps", b"j": "j", b"J": "jz", b"K": "js"}
"""First byte of a body → flags of its signed text."""

KINDS = {VERSION + flags: kind for kind, flags in FLAGS.items()}

HEADS = {kind: head.encode() for head, kind in KINDS.items()}

PACKED = {(b"p", ZLIB): b"P", (b"p", ZSTD): b"Q", (b"j", ZLIB): b"J", (b"j", ZSTD): b"K"}

UNPACKED = {packed: plain for (plain, _), packed in PACKED.items()}

COMPRESSED = {packed: method for (_, method), packed in PACKED.items()}
"""First byte of a compressed body → how it is compressed."""

PICKLED = frozenset({b"p", b"P", b"Q"})
"""First bytes of bodies whose arguments are a pickle."""


def split_message(text: str) -> tuple[bytes, str, str]:
    """(the first byte of the body, its rest as it came, the signature as it came) of a signed text."""
    head, _, rest = text.partition(":")
    data, colon, signature = rest.rpartition(":")
    if not colon or head not in KINDS:
        raise UnknownFormat("This is not a task package, or one of a later version.")
    return KINDS[head], data, signature


def first_line(body: bytes, limit: int = 0) -> bytes:
    """The header of a body as JSON; no more than that is decompressed.

    ``limit`` (bytes, 0 = none) keeps unverified data from growing without bound.
    """
    method = COMPRESSED.get(body[:1])
    if method is None:
        return body[1:].partition(b"\n")[0]
    stream, found = Decompressor(body[1:], method), b""
    while b"\n" not in found and (more := stream.read(CHUNK_BYTES)):
        found += more
        if limit and len(found) > limit:
            raise UnknownFormat(f"The header of the package has more than {limit} bytes.")
    return found.partition(b"\n")[0]


def decompressed(data: bytes, method: str, limit: int) -> bytes:
    """Decompress at most ``limit`` bytes. Raises ``UnknownFormat`` if there are more."""
    found = Decompressor(data, method).read(limit + 1)
    if len(found) > limit:
        raise UnknownFormat(
            f"The package has {len(data)} bytes and more than {limit} when it is decompressed, which is what"
            " max_payload_size allows."
        )
    return found
