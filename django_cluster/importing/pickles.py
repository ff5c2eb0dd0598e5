"""The pickles in Django-Q's tables.

They are not signed: write access to the table would be enough to run code where they are opened. So they are opened by
an unpickler without classes and functions, which is enough for numbers, texts, lists and dicts. Other values are
imported only with ``--trust-pickles``, and even then they are stored unopened, and opened when the row is viewed.
"""

from __future__ import annotations

import io
import pickle
import zlib
from base64 import b64decode
from typing import Any, NoReturn


class NotPlainValue(Exception):
    """The value is not made of plain values alone."""


class OpaquePickle:
    """A pickle that is stored without being opened; unpickling it gives the original value."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return pickle.loads, (self._data,)


def load_plain(text: str | None, *, trusted: bool, nothing: Any = None) -> Any:
    """The value in a column of picklefield: itself if it is plain, else ``OpaquePickle`` if the table is trusted.

    Raises ``NotPlainValue``.
    """
    if text is None:
        return nothing
    data = _unwrapped(text)
    try:
        return _Plain(io.BytesIO(data)).load()
    except Exception as error:
        if trusted:
            return OpaquePickle(data)
        raise NotPlainValue(str(error)) from error


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise NotPlainValue(f"It holds a {module}.{name}.")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise NotPlainValue("It refers to something outside of it.")


def _unwrapped(text: str) -> bytes:
    """base64, and zlib where the project asked for it."""
    try:
        data = b64decode(text.encode("ascii"))
    except ValueError as error:
        raise NotPlainValue("It is not base64.") from error
    try:
        return zlib.decompress(data)
    except zlib.error:
        return data
