"""The result port and its adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_cluster.core.settings import ResultSettings

if TYPE_CHECKING:
    from django_cluster.stores.routed import RoutedResults


def open_results(section: ResultSettings, *, history_of: str | None = None) -> RoutedResults:
    """The store of this section; opens no connection yet.

    ``history_of``: the id of the cluster whose history is written with the rows, by its monitor alone.

    The adapters are imported by this call and not before, because they need Django's models.
    """
    from django_cluster.stores.routed import RoutedResults

    return RoutedResults(section, history_of=history_of)
