"""Packages ↔ signed text, the format of messages in a broker.

Layout, version 1 (ASCII)::

    dc1<flags> ":" base64(body) ":" base64(HMAC-SHA256 of all before the last colon)

    flags   "p" or "j" (arguments are a pickle, or JSON), then "z" or "s" if the body is compressed by zlib or zstd
    body    JSON header, "\\n", arguments: the pickle or JSON of [args, kwargs]; empty if there are none

In memory a *body* is one byte, which says how arguments are written, and the body of the layout: ``p`` or ``j``, and
``P`` and ``J`` (zlib), ``Q`` and ``K`` (zstd) while it is still compressed. What verifies it (the pusher) does not
decompress it; what runs it does, and takes no more memory for it than ``max_payload_size``.

The header is JSON, so that it can be read without unpickling anything, and so that a later version can add names to it.
The signing key is derived from the secret, the namespace and the queue: a text that is copied into another queue, or
into one of another namespace, does not carry the signature that is expected there.

Whatever text comes in, nothing but ``PackageError`` comes out.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django_cluster.core.compression import ZLIB, ZSTD, compressed, require
from django_cluster.core.headers import HEADER_VERSION as HEADER_VERSION
from django_cluster.core.headers import read_header, shown_header, write_header
from django_cluster.core.message_layout import (
    COMPRESSED,
    HEADS,
    PACKED,
    PICKLED,
    UNPACKED,
    VERSION,
    decompressed,
    first_line,
    split_message,
)
from django_cluster.core.messages import DEFAULT_OPTIONS, TaskHeader, TaskPackage
from django_cluster.core.payload_references import REFERENCE_PREFIX, PayloadReference, read_reference, write_reference
from django_cluster.core.sealed_rows import arguments_context, seal_arguments
from django_cluster.core.settings import SigningSettings
from django_cluster.core.signing import (
    ValueSigner,
    derive_key,
    dump_arguments,
    dump_pickle,
    is_verified,
    load_json,
    load_pickle,
    sign,
)
from django_cluster.errors import BadSignature, PackageError, PayloadMissing, UnknownFormat, ValueTooLarge

PEEK_LIMIT = 1 << 20
MAX_TICKET_HEADER = 2000
"""Maximum size of a header in a payload reference, in bytes."""


CONTINUATION = ""
"""The queue for which packages are signed that continue a composition. No queue has this name, so that such a package
cannot be put into a queue before it is due."""


class Codec:
    """Signs packages with the key of one queue, and verifies and loads those that were signed with it or an older
    key."""

    def __init__(self, signing: SigningSettings) -> None:
        secrets = (signing.secret, *signing.fallbacks)
        self.signing = signing
        self.queue = queue = signing.salt if signing.queue is None else signing.queue
        self._keys = tuple(derive_key(secret, salt_of(signing.salt, queue)) for secret in secrets)
        self._signer = ValueSigner(signing.secret, signing.fallbacks, signing.serializer)
        self._json = signing.serializer == "json"
        self._threshold = signing.compress_threshold if signing.compress else None
        self._method = ZSTD if signing.compress == ZSTD else ZLIB
        self._limit = signing.max_payload_size
        self._others: dict[str, Codec] = {queue: self}

    def for_queue(self, queue: str) -> Codec:
        """The codec of another queue of the same namespace."""
        found = self._others.get(queue)
        if found is None:
            found = self._others[queue] = type(self)(replace(self.signing, queue=queue))
            found._others = self._others
        return found

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def dumps(self, package: TaskPackage) -> str:
        """The signed text of a package; raises ``NotSerializable``, and ``ValueTooLarge`` for one above the limit."""
        # Django's Tasks framework promises JSON, and needs no pickle.
        as_json = self._json or package.header.options.backend is not None
        body = (b"j" if as_json else b"p") + self._body(package, as_json=as_json)
        if len(body) > self._limit:
            raise ValueTooLarge(
                f"The task has {len(body)} bytes when it is packed, and max_payload_size is {self._limit}:"
                " pass a reference to large data instead of the data."
            )
        return self.sign(body)

    def sign(self, body: bytes) -> str:
        """The signed text of a body in the format that ``verify`` returns; the first byte is the format of the
        arguments."""
        kind, data = body[:1], body[1:]
        if self._threshold is not None and len(data) > self._threshold and (kind, self._method) in PACKED:
            kind, data = PACKED[kind, self._method], compressed(data, self._method)
        # A body of an unknown version is signed as it is, and rejected where it is read.
        signed = (HEADS.get(kind) or VERSION.encode() + kind) + b":" + b2a_base64(data, newline=False)
        return (signed + b":" + b2a_base64(sign(self._keys[0], signed), newline=False)).decode("ascii")

    def _body(self, package: TaskPackage, *, as_json: bool) -> bytes:
        arguments = b""
        if package.args or package.kwargs:
            if as_json:
                arguments = dump_arguments(package.args, package.kwargs)
            else:
                arguments = dump_pickle((package.args, dict(package.kwargs)), "The arguments")
        return write_header(package.header) + b"\n" + arguments

    # ── receiving ────────────────────────────────────────────────────────────────────────────────

    def verify(self, text: str) -> bytes:
        """The body of a text that is signed with the key of this queue; arguments are not loaded, nothing is
        decompressed.

        Raises ``BadSignature`` for a foreign or changed text, ``UnknownFormat`` for what is no package,
        ``LibraryMissing`` for what this process cannot decompress, and ``PayloadMissing`` for a reference: a
        broker that offloads large payloads would have replaced it.
        """
        try:
            kind, data, signature = split_message(text)
        except UnknownFormat:
            if text.startswith(REFERENCE_PREFIX):
                raise self._stranded(text) from None
            raise
        try:
            signed = text[: -1 - len(signature)].encode("ascii")
            authentic = is_verified(self._keys, signed, a2b_base64(signature))
            # Strict decoding takes longer, and is not needed for authentic data.
            body = a2b_base64(data, strict_mode=not authentic)
        except (Base64Error, ValueError) as error:
            raise UnknownFormat(f"The package is damaged: {error}") from error
        if not authentic:
            raise BadSignature
        if kind in COMPRESSED:
            require(COMPRESSED[kind])
        return kind + body

    def _stranded(self, text: str) -> PackageError:
        reference = self.read_reference(text)
        return BadSignature() if reference is None else PayloadMissing(_bare(reference.label))

    def split(self, body: bytes) -> tuple[TaskHeader, bytes]:
        """The header of a *verified* body, and its arguments, not loaded.

        Raises ``UnknownFormat`` for what is larger than ``max_payload_size`` when it is decompressed.
        """
        method = COMPRESSED.get(body[:1])
        data = body[1:] if method is None else decompressed(body[1:], method, self._limit)
        header, newline, arguments = data.partition(b"\n")
        if not newline:
            raise UnknownFormat("The package has no header.")
        return read_header(header), arguments

    def open(self, body: bytes, header: TaskHeader, arguments: bytes) -> TaskPackage:
        """The whole package of a *verified* body. The one place where arguments are unpickled.

        ``header`` and ``arguments`` as ``split`` gave them.
        """
        if not arguments:
            return TaskPackage(header=header)
        pickles = body[:1] in PICKLED
        if pickles and self._json:
            raise UnknownFormat("The arguments are a pickle, and serializer = 'json' forbids reading it.")
        args, kwargs = _pair(load_pickle(arguments) if pickles else load_json(arguments))
        return TaskPackage(header=header, args=args, kwargs=kwargs)

    def seal_arguments(self, body: bytes, header: TaskHeader, arguments: bytes, *, success: bool = False) -> bytes:
        """The arguments of a *verified* body in the signed format of a row; nothing is loaded.

        ``success``: whether the row is that of a successful task.
        """
        options = header.options
        wire = {} if options is DEFAULT_OPTIONS else options.to_wire()
        context = arguments_context(header.id, header.func, wire, hook=options.hook, success=success)
        marker = b"P" if body[:1] in PICKLED else b"J"
        return seal_arguments(self._signer, marker, arguments, self.queue, context)

    def replace_header(
        self, text: str, change: Callable[[TaskHeader], TaskHeader], home: str | None = None
    ) -> tuple[str, TaskHeader]:
        """The text with another header, and that header; the arguments are not loaded.

        The text is signed for the queue of the new header, by default for ``home``, which is by default the queue of
        this codec. Raises ``PackageError`` for a text that does not carry our signature.
        """
        body = self.verify(text)
        header, arguments = self.split(body)
        header = change(header)
        target = self.for_queue(header.options.queue or home or self.queue)
        kind = UNPACKED.get(body[:1], body[:1])
        return target.sign(kind + write_header(header) + b"\n" + arguments), header

    def signed_for(self, text: str, queue: str) -> str:
        """The message signed for another queue; unchanged if its signature is not valid for this queue."""
        try:
            return self.for_queue(queue).sign(self.verify(text))
        except PackageError:
            return text

    # ── references ──────────────────────────────────────────────────────────────────────────────────

    def reference(self, id: str, text: str) -> str:
        """The payload reference that is sent instead of this text, which is kept in the row ``id``."""
        try:
            label = _short_header(header_of(self.verify(text)))
        except PackageError:  # moved as it is, whatever it is
            label = b""
        return write_reference(self._keys[0], PayloadReference(id, label))

    def read_reference(self, text: str) -> PayloadReference | None:
        """The reference that the text is; None if it is none, or its signature is invalid."""
        return read_reference(self._keys, text)

    def loads(self, text: str) -> TaskPackage:
        """Verify a text and load the package. Raises ``PackageError``."""
        body = self.verify(text)
        return self.open(body, *self.split(body))


def salt_of(namespace: str, queue: str) -> str:
    """The salt of the key of one queue. The length separates the names of namespace and queue."""
    return f"package:{len(namespace)}:{namespace}:{queue}"


def header_of(body: bytes) -> TaskHeader:
    """The header of a verified body; arguments are neither decompressed nor loaded."""
    return read_header(first_line(body))


def _short_header(header: TaskHeader) -> bytes:
    """The header without the rest of the chain, which may be large."""
    label = write_header(replace(header, options=replace(header.options, chain=())))
    return label if len(label) <= MAX_TICKET_HEADER else write_header(replace(header, options=DEFAULT_OPTIONS))


def _bare(label: bytes) -> bytes | None:
    """A body with this header and without arguments."""
    return b"j" + label + b"\n" if label else None


def peek_header(text: str) -> TaskHeader:
    """The header of a signed text *without* verification: for display only.

    Its texts can be shown: they are short, and lone surrogates are replaced. Raises ``UnknownFormat``.
    """
    kind, data, _signature = split_message(text)
    try:
        body = a2b_base64(data, strict_mode=True)
    except (Base64Error, ValueError) as error:
        raise UnknownFormat(f"The package is damaged: {error}") from error
    return shown_header(read_header(first_line(kind + body, PEEK_LIMIT)))


def _pair(value: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        args, kwargs = value
        return tuple(args), dict(kwargs)
    except (TypeError, ValueError) as error:
        raise UnknownFormat("The arguments of the package are not (args, kwargs).") from error
