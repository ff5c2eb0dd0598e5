"""Keys inside the options of a broker: which of them the adapter does not know, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import ImproperlyConfigured

from django_cluster.core.broker_choice import did_you_mean

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
