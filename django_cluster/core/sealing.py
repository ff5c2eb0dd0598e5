"""Values ↔ sealed bytes, as they are kept in rows and carried in packages.

A pickle can run any code when it is read, so it is only ever read after its signature has been verified.
The layouts (one marker byte first, so that each may change without the others)::

    b"P" + HMAC-SHA256 (32 bytes) + pickle      signed, then pickled objects
    b"J" + JSON text                            nothing in it can run; not signed

``None`` is no bytes at all.
"""

from __future__ import annotations

import hmac
import json
import pickle
import sys
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from django_cluster.errors import BadSignature, NotSerializable, UnknownFormat, ValueTooLarge

DIGEST_SIZE = 32
NO_LIMIT = sys.maxsize
VALUE_SALT = "django_cluster.value"
"""One salt for all rows: a web process of another cluster must be able to read them."""


def derive_key(secret: str, salt: str) -> bytes:
    """The signing key of one purpose, as ``django.utils.crypto.salted_hmac`` derives its keys."""
    return sha256(f"django_cluster:{salt}:signer".encode() + secret.encode()).digest()


def sign(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 by the one-shot C form, which is several times faster than an ``hmac.new``."""
    return hmac.digest(key, data, "sha256")


def verified(keys: Sequence[bytes], data: bytes, signature: bytes) -> bool:
    """Whether one of the keys made this signature; compared in constant time."""
    for key in keys:  # noqa: SIM110  a generator costs more than the comparison
        if hmac.compare_digest(hmac.digest(key, data, "sha256"), signature):
            return True
    return False


def pickled(value: object, called: str = "The value") -> bytes:
    """The pickle of ``value``; raises ``NotSerializable`` whatever the object's own methods raise."""
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:
        raise NotSerializable(f"{called} cannot be pickled: {type(error).__name__}: {error}") from error


def jsoned(value: object, called: str = "The value") -> bytes:
    """The JSON of ``value``, only if reading it back gives an equal value."""
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        faithful = json.loads(text) == value
    except Exception as error:
        raise NotSerializable(f"{called} cannot be written as JSON: {error}") from error
    if not faithful:
        raise NotSerializable(f"{called} would come back from JSON changed (a tuple, or a key that is not text?)")
    return text.encode("ascii")


class Seal:
    """Seals and opens values with one secret; opens those of older secrets as well."""

    def __init__(
        self, secret: str, fallbacks: Sequence[str] = (), serializer: str = "pickle", max_size: int = NO_LIMIT
    ) -> None:
        """``max_size``: bytes of the largest value that is sealed (``max_result_size``)."""
        self._max_size = max_size
        self._keys = tuple(derive_key(each, VALUE_SALT) for each in (secret, *fallbacks))
        self._json = serializer == "json"

    def seal(self, value: object) -> bytes | None:
        """Raises ``NotSerializable``, and ``ValueTooLarge`` for a value above the limit."""
        if value is None:
            return None
        data = jsoned(value) if self._json else pickled(value)
        if len(data) > self._max_size:
            raise ValueTooLarge(
                f"The result has {len(data)} bytes, and max_result_size is {self._max_size}:"
                " store large data elsewhere, and return a reference to it."
            )
        return b"J" + data if self._json else self.seal_pickle(data)

    def seal_pickle(self, data: bytes) -> bytes:
        """Seal what has been pickled already."""
        return b"P" + sign(self._keys[0], data) + data

    def open(self, sealed: bytes | memoryview | None) -> Any:
        """Raises ``PackageError`` (and nothing else) when the value cannot be read."""
        if sealed is None:
            return None
        data = bytes(sealed)
        marker, rest = data[:1], data[1:]
        if marker == b"P":
            return self._open_pickle(rest)
        if marker == b"J":
            return read_json(rest)
        raise UnknownFormat("The value is sealed in a format that is not known to this version.")

    def _open_pickle(self, rest: bytes) -> Any:
        signature, data = rest[:DIGEST_SIZE], rest[DIGEST_SIZE:]
        if self._json:
            raise UnknownFormat("The value is a pickle, and the setting serializer = 'json' forbids reading it.")
        if not verified(self._keys, data, signature):
            raise BadSignature
        return read_pickle(data)


def read_pickle(data: bytes) -> Any:
    """Unpickle *verified* bytes; a class that is gone or broken is a ``PackageError``."""
    try:
        return pickle.loads(data)  # noqa: S301  every caller has verified the signature
    except Exception as error:
        raise UnknownFormat(f"The pickle cannot be read: {type(error).__name__}: {error}") from error


def read_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except Exception as error:
        raise UnknownFormat(f"The JSON cannot be read: {error}") from error
