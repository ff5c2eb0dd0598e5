"""Keys inside the options of a broker: which of them the adapter does not know, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_cluster.core.settings.brokers import did_you_mean

MAX_LISTED = 20
"""The most known keys that one error lists; of more, it names only the nearest."""


class UnknownOption(ImproperlyConfigured):
    """A key inside the options of a broker that its adapter does not know."""


def refuse_unknown(place: str, written: Iterable[object], known: Iterable[str], where: str = "") -> None:
    """Raise ``UnknownOption`` for keys of ``written`` that are not in ``known``, with the nearest known key of each.

    ``place``: the option that holds the keys, for example ``sqs``. ``where``: follows the keys in the sentence.
    """
    names = sorted(known)
    if unknown := sorted({str(key) for key in written}.difference(names)):
        said = "; ".join(f"{key}{where} is not known{did_you_mean(key, names)}" for key in unknown)
        listed = f"; known are {', '.join(names)}" if len(names) <= MAX_LISTED else ""
        raise UnknownOption(f"{place}: {said}{listed}.")


def require_text(place: str, written: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise ``ImproperlyConfigured`` for the first of ``names`` whose value in ``written`` is there, and no text.

    The library would raise something of its own, and only when it connects. The value is not shown: it may be a
    password. ``place``: as in ``refuse_unknown``.
    """
    for name in names:
        value = written.get(name)
        if value is not None and not isinstance(value, str):
            raise ImproperlyConfigured(f"{place}: {name} must be text, not {type(value).__name__}.")


def texts(place: str, name: str, value: object) -> list[str]:
    """One text, or a list of them, as a list; raises ``ImproperlyConfigured`` for anything else."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not all(isinstance(each, str) for each in found):
        raise ImproperlyConfigured(f"{place}: {name} must be text, or a list of texts.")
    return list(found)
