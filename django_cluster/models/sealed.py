"""The seal of this project's rows: its keys are Django's ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``.

Rows are read in every process that has a ``Task`` in its hands (the admin, a shell, a view), with no
settings of a cluster near. Django's own ``Signer`` knows the keys, and follows ``override_settings``.
"""

from __future__ import annotations

from functools import lru_cache

from django.core.signing import Signer
from django.utils.encoding import force_str

from django_cluster.core.sealing import Seal


def row_seal() -> Seal:
    """Opens what any process of this project has sealed."""
    return _seal(*secrets())


def secrets() -> tuple[str, tuple[str, ...]]:
    """The project's secret, and its older ones."""
    signer = Signer()
    return force_str(signer.key), tuple(force_str(key) for key in signer.fallback_keys)


@lru_cache(maxsize=4)
def _seal(key: str, fallbacks: tuple[str, ...]) -> Seal:
    """Deriving keys costs more than reading a small value with them."""
    return Seal(key, fallbacks)
