"""Values ↔ signed bytes, the format of columns with arguments and results.

A pickle can run any code when it is read, so it is only ever read after its signature has been verified.
The layouts (one marker byte first, so that each may change without the others)::

    marker + HMAC-SHA256 (32 bytes) + data

    marker  "P": the data is a pickle; "J": it is JSON, in which nothing can run
    HMAC    of the marker, the context, and the data

The *context* is what the value belongs to: a value that was signed for one task cannot be loaded as that of another,
also if the column is copied from row to row. ``None`` is no bytes at all.
"""

from __future__ import annotations

import hmac
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from django_cluster.core import json_values
from django_cluster.errors import BadSignature, NotSerializable, PackageError, UnknownFormat, ValueTooLarge

DIGEST_SIZE = 32
NO_LIMIT = sys.maxsize
VALUE_SALT = "django_cluster.value"
"""One salt for all rows: a web process of another cluster must be able to read them."""


def secret_text(key: object) -> str:
    """Return a key of Django, text or bytes, as text. Never fails.

    Text and the bytes of its UTF-8 are the same key, as they are to Django.
    """
    if isinstance(key, bytes | bytearray | memoryview):
        return bytes(key).decode("utf-8", "surrogateescape")
    return str(key)


def secret_bytes(text: str) -> bytes:
    """The bytes of a key as ``secret_text`` returns it."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair; and an exception must not show a key
        return text.encode("utf-8", "surrogatepass")


def derive_key(secret: str, salt: str) -> bytes:
    """The signing key of one purpose, as ``django.utils.crypto.salted_hmac`` derives its keys."""
    return sha256(f"django_cluster:{salt}:signer".encode() + secret_bytes(secret)).digest()


def sign(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 by the one-shot C form, which is several times faster than an ``hmac.new``."""
    return hmac.digest(key, data, "sha256")


def is_verified(keys: Sequence[bytes], data: bytes, signature: bytes) -> bool:
    """Whether one of the keys made this signature; compared in constant time."""
    for key in keys:  # noqa: SIM110  a generator costs more than the comparison
        if hmac.compare_digest(hmac.digest(key, data, "sha256"), signature):
            return True
    return False


def dump_pickle(value: object, called: str = "The value") -> bytes:
    """The pickle of ``value``; raises ``NotSerializable`` whatever the object's own methods raise."""
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:
        raise NotSerializable(f"{called} cannot be dump_pickle: {type(error).__name__}: {error}") from error


def dump_json(value: object, called: str = "The value") -> bytes:
    """The JSON of ``value``, from which ``load_json`` makes an equal value of the same type.

    Raises ``NotSerializable``, which names the part that cannot be written.
    """
    return _as_json(lambda: json_values.dumps(value), called)


def dump_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """The JSON of the arguments of a call: ``[args, kwargs]``. Raises ``NotSerializable``, which names the argument."""
    return _as_json(lambda: json_values.dumps_arguments(args, kwargs), "The arguments")


def _as_json(dump: Callable[[], bytes], called: str) -> bytes:
    try:
        return dump()
    except Exception as error:
        raise NotSerializable(f"{called} cannot be written as JSON: {error}") from error


NOT_SIGNED = (
    "The value was not signed for this row, or with another SECRET_KEY: the row was changed in the database, or the key"
    " was changed without SECRET_KEY_FALLBACKS."
)


class ValueSigner:
    """Signs values with one secret, and verifies and loads them with it or an older one."""

    def __init__(
        self, secret: str, fallbacks: Sequence[str] = (), serializer: str = "pickle", max_size: int = NO_LIMIT
    ) -> None:
        """``fallbacks``: older secrets. ``max_size``: bytes of the largest value that is signed
        (``max_result_size``)."""
        self._max_size = max_size
        self._keys = tuple(derive_key(each, VALUE_SALT) for each in (secret, *fallbacks))
        self._json = serializer == "json"

    def dumps(self, value: object, context: bytes) -> bytes | None:
        """Serialize and sign a value; None stays None.

        Raises ``NotSerializable``, and ``ValueTooLarge`` for a value of more than ``max_size`` bytes.
        """
        if value is None:
            return None
        data = dump_json(value) if self._json else dump_pickle(value)
        if len(data) > self._max_size:
            raise ValueTooLarge(
                f"The result has {len(data)} bytes, and max_result_size is {self._max_size}:"
                " store large data elsewhere, and return a reference to it."
            )
        return self.sign_data(b"J" if self._json else b"P", data, context)

    def sign_data(self, marker: bytes, data: bytes, context: bytes) -> bytes:
        """Sign data that is serialized already; ``marker``: ``b"P"`` for a pickle, ``b"J"`` for JSON."""
        return marker + sign(self._keys[0], _signed(marker, context) + data) + data

    def loads(self, sealed: bytes | memoryview | None, context: bytes) -> Any:
        """Verify and load a signed value. Raises ``PackageError``, and nothing else, for what cannot be read."""
        if sealed is None:
            return None
        marker, data = self.verified_data(sealed, context)
        return load_value(marker, data)

    def verified_data(self, sealed: bytes | memoryview, context: bytes) -> tuple[bytes, bytes]:
        """Verify a value for this context: (marker, data), not loaded. Raises ``PackageError``."""
        found = bytes(sealed)
        marker, signature, data = found[:1], found[1 : 1 + DIGEST_SIZE], found[1 + DIGEST_SIZE :]
        if marker not in (b"P", b"J"):
            raise UnknownFormat("The value is signed in a format that is not known to this version.")
        if marker == b"P" and self._json:
            raise UnknownFormat("The value is a pickle, and the setting serializer = 'json' forbids reading it.")
        if not is_verified(self._keys, _signed(marker, context) + data, signature):
            raise BadSignature(NOT_SIGNED)
        return marker, data


def _signed(marker: bytes, context: bytes) -> bytes:
    """The prefix of the data that is signed. The length separates the context from the data."""
    return b"%b%d:%b" % (marker, len(context), context)


def load_value(marker: bytes, data: bytes, *, resolve: bool = True) -> Any:
    """The value of *verified* data; ``resolve`` as for ``load_json``. Raises ``PackageError``."""
    return load_pickle(data) if marker == b"P" else load_json(data, resolve=resolve)


def load_pickle(data: bytes) -> Any:
    """Unpickle *verified* bytes. Raises ``PackageError``, also for a class that does not exist any more."""
    try:
        return pickle.loads(data)  # noqa: S301  every caller has verified the signature
    except Exception as error:
        raise UnknownFormat(f"The pickle cannot be read: {type(error).__name__}: {error}") from error


def load_json(data: bytes, *, resolve: bool = True) -> Any:
    """The value of *verified* JSON. ``resolve``: instances of models are fetched from their database.

    Raises ``PackageError``, of which ``InstanceMissing`` says that such a row is gone.
    """
    try:
        return json_values.loads(data, resolve=resolve)
    except PackageError:
        raise
    except Exception as error:
        raise UnknownFormat(f"The JSON cannot be read: {error}") from error
