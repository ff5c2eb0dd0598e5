"""Compression of task packages: zlib, or zstd where the interpreter or an installed package has it.

zstd is a module of Python 3.14; for older interpreters the package ``backports.zstd`` brings the same module. It is
imported with the first package that needs it.
"""

from __future__ import annotations

import zlib
from functools import cache
from importlib import import_module
from typing import Any

from django_cluster.errors import LibraryMissing, UnknownFormat

ZLIB = "zlib"
ZSTD = "zstd"

ZSTD_MODULES = ("compression.zstd", "backports.zstd")
"""Where zstd may be found; the first that is there is taken."""

WINDOW_LOG_MAX = 23
"""Binary logarithm of the bytes that a zstd frame may want as its window: 8 MiB. What we write wants 2 MiB at most; a
hostile frame could want more than its package may have when it is decompressed."""

WITHOUT_ZSTD = (
    "zstd needs Python 3.14 or the package backports.zstd: pip install 'django-cluster[zstd]', in all processes that"
    " send or run tasks."
)


@cache
def _zstd() -> Any:
    """The module; None where there is none."""
    for name in ZSTD_MODULES:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def is_available(method: str) -> bool:
    """Whether packages can be compressed and read by this method in this process."""
    return method != ZSTD or _zstd() is not None


def require(method: str) -> None:
    """Raise ``LibraryMissing`` where this process cannot read what was compressed by this method."""
    if not is_available(method):
        raise LibraryMissing(f"The package is compressed by zstd. {WITHOUT_ZSTD}")


def compressed(data: bytes, method: str) -> bytes:
    """``data``, compressed by this method."""
    if method == ZLIB:
        return zlib.compress(data)
    require(method)
    return bytes(_zstd().compress(data))


class Decompressor:
    """Decompresses one piece of data in steps, each of which takes no more memory than it was told to.

    Raises ``UnknownFormat`` for data that cannot be decompressed, and ``LibraryMissing``.
    """

    def __init__(self, data: bytes, method: str) -> None:
        self._zlib = method == ZLIB
        if not self._zlib:
            require(method)
        self._error: type[Exception] = zlib.error if self._zlib else _zstd().ZstdError
        self._stream: Any = zlib.decompressobj() if self._zlib else _zstd_stream()
        self._data = data

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes more; none at the end."""
        if self._stream.eof:
            return b""
        try:
            found: bytes = self._stream.decompress(self._data, size)
        except self._error as error:
            raise UnknownFormat(f"The package is damaged: {error}") from error
        # zlib hands back what it has not looked at; zstd keeps it.
        self._data = self._stream.unconsumed_tail if self._zlib else b""
        return found


def _zstd_stream() -> Any:
    zstd = _zstd()
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX})
