"""Which of several queues are on one server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django_cluster.core.settings import BrokerSettings


def server_numbers(sections: Sequence[BrokerSettings]) -> list[int]:
    """The number of the server of each section, from 0. Sections with the same adapter and options share one."""
    known: list[tuple[str, str, Mapping[str, Any]]] = []
    numbers = []
    for section in sections:
        server = (section.kind, section.class_path, section.options)
        if server not in known:
            known.append(server)
        numbers.append(known.index(server))
    return numbers


def servers_of_queues(sections: Sequence[BrokerSettings]) -> dict[str, int]:
    """Queue → number of its server."""
    return dict(zip((section.queue for section in sections), server_numbers(sections), strict=True))
