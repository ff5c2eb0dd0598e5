"""The result port and its adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_cluster.core.settings import ResultSettings

if TYPE_CHECKING:
    from django_cluster.stores.routed import RoutedResults


def open_results(section: ResultSettings, cluster: str | None = None) -> RoutedResults:
    """The store of this section; opens no connection yet.

    ``cluster`` is the queue that a row names when the task itself was not sent to a named one. The
    adapters are loaded here and not before, since they need Django's models.
    """
    from django_cluster.stores.routed import RoutedResults

    return RoutedResults(section, cluster)
