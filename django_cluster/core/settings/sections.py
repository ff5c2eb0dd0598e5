"""``Q_CLUSTER`` as frozen values, in one section for each part of the package.

A constructor takes only the section that it needs, so that a test of a broker needs four values and no Django settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django_cluster.core.due import CatchUp

DEFAULT_LABEL = "Django Cluster"
"""The default of ``label``. Only this label is translated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """One broker, and how messages are leased from it."""

    kind: str = "orm"
    """A key of ``brokers.ADAPTERS``, or the dotted path of a ``Broker`` class."""
    class_path: str = ""
    """Dotted path of a class that replaces the shipped adapter of ``kind`` and gets the same options."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Addresses, credentials, aliases; their normal forms are listed in ``core/settings/brokers.py``."""
    name: str = "default"
    """The namespace of the project: the prefix of every key on a shared server."""
    queue: str = "default"
    alias: str = ""
    """The name of the broker in ``brokers``; empty for the broker of the cluster itself."""
    lease: float = 60.0
    """Duration of a lease, in seconds (``retry``)."""
    bulk: int = 500
    """Maximum number of messages that are leased in one call."""
    poll: float = 0.2
    """Seconds between two queries of a queue that cannot notify the cluster."""
    offload_large_payloads: bool | int = False
    """Whether payloads over the limit of the broker are kept in the database; a number is a lower limit, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSettings:
    """How packages are announced, serialized, signed and checked."""

    secret: str = field(repr=False)
    fallbacks: tuple[str, ...] = field(default=(), repr=False)
    """Older secrets, which verify and never sign."""
    salt: str = "default"
    """The namespace of the project."""
    queue: str | None = None
    """The queue for which messages are signed; None: the queue with the name of the namespace."""
    serializer: str = "pickle"
    """``pickle`` or ``json``; ``json`` also refuses to read pickles."""
    functions: tuple[str, ...] = ("any",)
    """Which functions may be sent and run: ``any``, ``registered``, or patterns of dotted paths."""
    max_message_age: float | None = None
    """Seconds after sending, or after the due time, after which a message is rejected instead of run; None: no
    limit."""
    compress: bool | str = False
    """True: zlib; or ``"zstd"``."""
    compress_threshold: int = 1024
    """Size of a package, in bytes, up to which it is not compressed."""
    middleware: tuple[str, ...] = ()
    """Dotted paths of classes that are called around packing and running, the outermost first."""
    max_payload_size: int = 64 << 20
    """Maximum size of a package with its header and arguments, in bytes, before it is compressed and signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSettings:
    """Which results are kept, and where."""

    save_limit: int = 250
    """Number of successes to keep; 0: all, negative: none."""
    save_limit_failures: int = 0
    """Number of final failures to keep; 0: all."""
    save_limit_per: str | None = None
    """None, ``group``, ``name`` or ``func``."""
    retention_days: Mapping[str, float | None] | None = None
    """Kind of result → days for which rows are kept; None: forever."""
    tracked_retention_days: float | None = 14.0
    """Days for which rows of tracked tasks are kept after their end; None: forever."""
    cached: bool | int = False
    cache: str = "default"
    database: str | None = None
    """Alias of the database; None: what the database router says."""
    max_result_size: int = 64 << 20
    """Maximum size of a result, in bytes, as it is stored."""
    history: bool = True
    """Whether clusters count how tasks end, minute by minute."""
    history_days: float = 400.0
    """Days for which these counts are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """Retries of failed tasks."""

    ack_failures: bool = False
    max_attempts: int = 0
    retry_delay: float = 60.0
    """Seconds before the first retry."""
    retry_backoff: float | str = 2.0
    """Factor by which each further delay grows, or the dotted path of a function that returns the delay."""
    retry_max_delay: float = 3600.0
    retry_jitter: bool = True
    max_worker_deaths: int = 3
    """Number of workers that may die while they run a task, before it gets the status ``dead``; 0: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """How schedules are run."""

    enabled: bool = True
    catch_up: CatchUp = CatchUp.ALL
    """What happens to runs that were missed while no cluster ran."""
    max_catch_up: int | None = None
    """Maximum number of missed runs of one schedule that are made up for; None: no limit."""
    interval: float = 1.0
    """Seconds between two queries for due schedules."""
    time_zone: str | None = None
    """Name of the time zone in which schedules are calculated; None without ``USE_TZ``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """The processes of a cluster."""

    workers: int = 2
    timeout: float | None = None
    kill_grace: float = 2.0
    """Seconds between the exception of a time limit and the SIGKILL."""
    recycle: int = 500
    """Number of tasks after which a worker is replaced; 0: never."""
    max_rss: int | None = None
    """Resident memory, in kilobytes, above which a worker is replaced between two tasks."""
    max_rss_kill: int | None = None
    """Resident memory, in kilobytes, above which a worker is killed while it runs a task."""
    async_concurrency: int = 100
    """How many ``async def`` tasks a worker runs at the same time."""
    loop_block_limit: float | None = 1.0
    """Seconds for which a task may keep the event loop from running the others, before that is logged; None: any."""
    cpu_affinity: int = 0
    daemonize: bool = True
    guard_cycle: float = 0.5
    prefetch: int = 0
    """Maximum number of jobs that a cluster holds beyond those that run; 0: what workers ask for (``queue_limit``)."""
    start_method: str = "fork"
    shutdown_timeout: float = 25.0
    """Seconds for which a graceful stop waits for running tasks."""
    boot_timeout: float = 60.0
    unresponsive_timeout: float | None = None
    """Seconds without progress, outside a task, after which a process is replaced; None: derived from the lease."""
    post_mortem: bool = True
    """Whether failed runs are explained: log lines, queries, resources, and variables."""
    post_mortem_variables: bool = True
    """Whether the local variables of the project's own frames are kept with them."""
    revision: str | None = None
    """The revision of the project; None: ``qcluster`` finds that of its git repository."""
    heartbeat_interval: float = 2.0
    """Seconds between two heartbeats; 0: no heartbeats, and no commands of operators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """One of several queues of one cluster, with the settings that differ from queue to queue."""

    queue: str
    weight: int
    broker: BrokerSettings
    delivery: DeliverySettings
    timeout: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one cluster. Picklable, comparable, safe to print."""

    name: str = "default"
    queue: str = "default"
    sync: bool = False
    on_commit: bool | str = True
    """Whether sending waits for the commit of an open transaction: in the database of the results, or in this alias."""
    track_tasks: bool = False
    """Whether every task has a row from the moment at which it is sent, and not only those that ask for it."""
    testing: bool = False
    """Whether workers are not bound to CPUs, whatever ``cpu_affinity`` is."""
    label: str = DEFAULT_LABEL
    """The name of the app in the admin."""
    log_level: str = "INFO"
    log_format: str = "text"
    """How ``qcluster`` writes log lines, unless the project configures handlers: "text" or "json"."""
    task_modules: tuple[str, ...] = ("tasks",)
    """Names of the modules of each installed app in which tasks are looked for."""
    masked_names: tuple[str, ...] = ()
    """Parts of names whose values are masked, in addition to those that Django masks."""
    log_tasks: bool = False
    """Whether successes are logged, at level DEBUG (``qcluster -v 2``)."""
    log_root: bool = False
    """Whether records of all loggers are shown, because ``LOGGING`` is empty."""
    broker: BrokerSettings
    signing: SigningSettings
    results: ResultSettings = ResultSettings()
    delivery: DeliverySettings = DeliverySettings()
    schedule: ScheduleSettings = ScheduleSettings()
    processes: ProcessSettings = ProcessSettings()
    brokers: Mapping[str, BrokerSettings] = field(default_factory=dict, repr=False)
    """Further brokers by name, for tasks that choose one."""
    queue_brokers: Mapping[str, BrokerSettings] = field(default_factory=dict, repr=False)
    """Queue → its broker, for queues of the settings that are not on the broker of this cluster."""
    reporters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """Name or dotted path of an error reporter → its keyword arguments."""
    queue_settings: tuple[QueueSettings, ...] = ()
    """The queues of a cluster that works on several; empty otherwise. ``queue`` and ``broker`` are then those of
    ``Q_CLUSTER`` itself."""

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of the queues of this cluster."""
        return tuple(each.queue for each in self.queue_settings) or (self.queue,)

    @property
    def broker_sections(self) -> tuple[BrokerSettings, ...]:
        """The broker of each queue of this cluster."""
        return tuple(each.broker for each in self.queue_settings) or (self.broker,)
