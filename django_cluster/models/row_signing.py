"""The seal of this project's rows: its keys are Django's ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``.

Rows are read in every process that has a ``Task`` in its hands (the admin, a shell, a view), with no
settings of a cluster near. Django's own ``Signer`` knows the keys, and follows ``override_settings``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from django.core.signing import Signer

from django_cluster.core.signing import ValueSigner, secret_text


def row_signer() -> ValueSigner:
    """Opens what any process of this project has sealed."""
    return _seal(*secrets(), _Serializer.read())


def serializer() -> str:
    """How values of rows are written now: ``json`` or ``pickle``."""
    return _Serializer.read()


def secrets() -> tuple[str, tuple[str, ...]]:
    """The project's secret, and its older ones."""
    signer = Signer()
    return secret_text(signer.key), tuple(map(secret_text, signer.fallback_keys))


@lru_cache(maxsize=4)
def _seal(key: str, fallbacks: tuple[str, ...], serializer: str) -> ValueSigner:
    """Deriving keys costs more than reading a small value with them."""
    return ValueSigner(key, fallbacks, serializer)


class _Serializer:
    """Who knows the setting ``serializer``: the app says it when it is ready."""

    read: Callable[[], str] = staticmethod(lambda: "json")


def install_serializer(read: Callable[[], str]) -> None:
    """From now on ``read`` says whether rows may hold pickles (``pickle``) or none is opened (``json``)."""
    _Serializer.read = staticmethod(read)
