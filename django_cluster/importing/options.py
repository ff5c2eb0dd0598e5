"""What an import is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from zoneinfo import ZoneInfo

from django_cluster.client.client import get_client
from django_cluster.core.signing import ValueSigner
from django_cluster.importing.target import TargetQueue


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The options of ``manage.py qimport``."""

    database: str = "default"
    """The alias of the database in which the source has its tables."""
    parts: tuple[str, ...] = ()
    """What to import; empty for everything."""
    dry_run: bool = False
    trust_pickles: bool = False
    """Whether values of any class are taken over; opening them runs code that is written in them."""
    stopped: bool = False
    """Whether the workers of the source are stopped."""
    site: str = ""
    """The name under which Django-Q has signed; empty for that of the settings."""
    queues: tuple[str, ...] = ()
    """Names of queues; empty for those that the settings name."""
    redis: str = ""
    """The address of a Redis; empty for that of the settings."""

    def wants(self, part: str) -> bool:
        return not self.parts or part in self.parts

    def target(self) -> TargetQueue:
        return TargetQueue(get_client(), dry_run=self.dry_run)


def results_database() -> str:
    """The alias of the database of results and schedules."""
    return str(get_client().results.database)


def value_signer() -> ValueSigner:
    signing = get_client().settings.signing
    return ValueSigner(signing.secret, signing.fallbacks, signing.serializer)


def forbids_pickle() -> bool:
    """Whether the settings forbid to open any pickle."""
    return get_client().settings.signing.serializer == "json"


def schedule_zone() -> tzinfo | None:
    """The time zone of schedules; None without ``USE_TZ``."""
    zone = get_client().settings.schedule.time_zone
    return ZoneInfo(zone) if zone else None
