"""``Q_CLUSTER`` as frozen values, one section for each room of the house.

A constructor takes its own section and nothing else, so that a test of a broker needs four values and
no Django settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django_cluster.core.due import CatchUp

DEFAULT_LABEL = "Django Cluster"
"""A label that is translated; one that a project sets is shown as it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """Where the messages wait."""

    kind: str = "orm"
    """A name of ``brokers.ADAPTERS``, or the dotted path of a ``Broker`` class."""
    class_path: str = ""
    """Dotted path of a class that takes the place of the shipped adapter of ``kind`` and gets the same options."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Addresses, credentials, aliases; their normal forms are listed in ``core/settings/brokers.py``."""
    name: str = "default"
    """The namespace: the prefix of every key on a shared server."""
    queue: str = "default"
    alias: str = ""
    """Its name in ``brokers``; empty for the broker of the cluster itself."""
    lease: float = 60.0
    """Seconds for which a message is lent (``retry``)."""
    bulk: int = 500
    """The most messages to lease in one call."""
    poll: float = 0.2
    """Seconds between two looks at a queue that cannot wake us."""
    offload_large_payloads: bool | int = False
    """Whether payloads over the broker's limit are kept in the database; a number is a limit of our own, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSettings:
    """How packages are sealed."""

    secret: str = field(repr=False)
    fallbacks: tuple[str, ...] = field(default=(), repr=False)
    """Older secrets: read with, never signed with."""
    salt: str = "default"
    """The namespace."""
    queue: str | None = None
    """For which messages are signed; None = the one that is called as the namespace is."""
    serializer: str = "pickle"
    """``pickle`` or ``json``; ``json`` also refuses to read pickles."""
    functions: tuple[str, ...] = ("any",)
    """Which functions may be sent and run: ``any``, ``registered``, or patterns of dotted paths."""
    max_message_age: float | None = None
    """Seconds after its sending, or its due time, after which a message is rejected instead of run; None = never."""
    compress: bool | str = False
    """True means zlib; or ``zstd``."""
    compress_threshold: int = 1024
    """Bytes; smaller packages are never compressed."""
    max_payload_size: int = 64 << 20
    """Bytes of the largest package, its header and arguments, before it is compressed and signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSettings:
    """What is kept of finished tasks."""

    save_limit: int = 250
    """Successes kept: 0 = all, negative = none."""
    save_limit_failures: int = 0
    """Final failures kept: 0 = all."""
    save_limit_per: str | None = None
    """None, ``group``, ``name`` or ``func``."""
    retention_days: Mapping[str, float | None] | None = None
    """Kind of ending → days for which rows are kept; None = for ever."""
    cached: bool | int = False
    cache: str = "default"
    database: str | None = None
    """Alias; None asks the database router."""
    max_result_size: int = 64 << 20
    """Bytes of the largest result, as it is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """What follows a failed run."""

    ack_failures: bool = False
    max_attempts: int = 0
    retry_delay: float = 60.0
    """Seconds before the second run."""
    retry_backoff: float | str = 2.0
    """Factor by which each further delay grows, or the dotted path of a function that names each delay."""
    retry_max_delay: float = 3600.0
    retry_jitter: bool = True
    max_worker_deaths: int = 3
    """A task whose worker died under it so often is put aside as dead; 0 = never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """When tasks are sent by themselves."""

    enabled: bool = True
    catch_up: CatchUp = CatchUp.ALL
    """What becomes of runs that were missed while no cluster ran."""
    max_catch_up: int | None = None
    """How many missed runs of one schedule are made up for at most; None = all."""
    interval: float = 1.0
    """Seconds between two looks at the schedules."""
    time_zone: str | None = None
    """Name of the zone in which schedules are reckoned; None without ``USE_TZ``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """The processes."""

    workers: int = 2
    timeout: float | None = None
    kill_grace: float = 2.0
    """Seconds between the soft limit (an exception) and the hard one (SIGKILL)."""
    recycle: int = 500
    """Tasks after which a worker is replaced; 0 = never."""
    max_rss: int | None = None
    """Kilobytes of resident memory above which a worker is replaced."""
    max_rss_kill: int | None = None
    """Kilobytes of resident memory above which a worker is killed in the middle of its task."""
    cpu_affinity: int = 0
    daemonize: bool = True
    guard_cycle: float = 0.5
    prefetch: int = 0
    """The most jobs that a cluster holds beyond those that run; 0 = what workers ask for (``queue_limit``)."""
    start_method: str = "fork"
    shutdown_timeout: float = 25.0
    """Seconds for which a graceful stop waits for running tasks."""
    boot_timeout: float = 60.0
    unresponsive_timeout: float | None = None
    """Seconds without a sign of life, outside a task, after which a process is replaced; None follows the lease."""
    heartbeat_interval: float = 2.0
    """Seconds between two signs of life; 0 = none, and nobody can be told anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """One of several queues that one cluster works on, and what holds for the tasks from it alone."""

    queue: str
    weight: int
    broker: BrokerSettings
    delivery: DeliverySettings
    timeout: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that one cluster needs to know. Picklable, comparable, safe to print."""

    name: str = "default"
    queue: str = "default"
    sync: bool = False
    on_commit: bool | str = True
    """Whether sending waits for the commit of an open transaction: of the results' database, or of this alias."""
    testing: bool = False
    """Whether workers are left unbound, whatever ``cpu_affinity`` says."""
    label: str = DEFAULT_LABEL
    """What the admin calls the app."""
    log_level: str = "INFO"
    masked_names: tuple[str, ...] = ()
    """Parts of names whose values are hidden wherever they are shown, beside those that Django's rules hide."""
    log_tasks: bool = False
    """Whether each success is a line of level DEBUG (``qcluster -v 2``)."""
    log_root: bool = False
    """Whether lines of all loggers may be shown, because ``LOGGING`` is empty."""
    broker: BrokerSettings
    signing: SigningSettings
    results: ResultSettings = ResultSettings()
    delivery: DeliverySettings = DeliverySettings()
    schedule: ScheduleSettings = ScheduleSettings()
    processes: ProcessSettings = ProcessSettings()
    brokers: Mapping[str, BrokerSettings] = field(default_factory=dict, repr=False)
    """Further brokers by name, for tasks that ask for one."""
    queue_brokers: Mapping[str, BrokerSettings] = field(default_factory=dict, repr=False)
    """Queues that the settings name and that live on another broker than this cluster's own."""
    reporters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """Name or dotted path of each error reporter → its keyword arguments."""
    queue_settings: tuple[QueueSettings, ...] = ()
    """Of a cluster that works on several queues. Then ``queue`` and ``broker`` are those of the root."""

    @property
    def queues(self) -> tuple[str, ...]:
        """What this cluster works on."""
        return tuple(share.queue for share in self.queue_settings) or (self.queue,)

    @property
    def broker_sections(self) -> tuple[BrokerSettings, ...]:
        """The broker of each of its queues."""
        return tuple(share.broker for share in self.queue_settings) or (self.broker,)
