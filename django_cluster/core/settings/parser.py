"""``Q_CLUSTER`` → ``Settings``: sorts flat keys into sections, and collects every problem before it complains.

``parse`` raises all errors in one exception; ``try_parse`` returns them, with warnings, beside the settings.
Neither reads Django's settings, a server or a table: what they need is an argument.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from django_cluster.core.masking import MaskedMapping
from django_cluster.core.settings import (
    BrokerSettings,
    DeliverySettings,
    ProcessSettings,
    ResultSettings,
    ScheduleSettings,
    Settings,
    SigningSettings,
    problems,
)
from django_cluster.core.settings.brokers import BrokerChoice, choose
from django_cluster.core.settings.cpus import available_cpus
from django_cluster.core.settings.layers import Layer, converted_values, environment_layer, layer_of
from django_cluster.core.settings.named_values import queue_name
from django_cluster.core.settings.table import BY_KEY, DEFINITIONS
from django_cluster.core.settings.values import InvalidValue
from django_cluster.errors import InvalidSettings, Problem

WORKERS_PER_CPU = 4
"""More workers than this for each CPU are worth a warning."""

OWN_NAMES = ("name", "queue")
"""Keys that have no effect in ``ALT_CLUSTERS``: there, the queue is the key of the dict, and the namespace is
shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseContext:
    """What the settings depend on in addition to ``Q_CLUSTER``."""

    secret: str = field(repr=False)
    fallbacks: Sequence[str] = field(default=(), repr=False)
    time_zone: str | None = None
    """``TIME_ZONE`` of the project; None without ``USE_TZ``."""
    cluster: str | None = None
    """The cluster of ``qcluster -n`` or ``Q_CLUSTER_NAME``; None: that of ``Q_CLUSTER`` itself."""
    cpu_count: int | None = None
    """Number of CPUs; None: as the system says."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    platform: str = sys.platform
    queue_brokers: bool = True
    """Whether to find the brokers of the other queues of the project."""


class ParseResult(NamedTuple):
    """The settings of a ``Q_CLUSTER``, and its problems."""

    settings: Settings | None
    """None if there are errors."""
    problems: tuple[Problem, ...]


def parse(
    mapping: Any,
    *,
    secret: str,
    fallbacks: Sequence[str] = (),
    time_zone: str | None = None,
    cluster: str | None = None,
    cpu_count: int | None = None,
    environment: Mapping[str, str] | None = None,
    platform: str = sys.platform,
) -> Settings:
    """Return the settings of a ``Q_CLUSTER``. Raises ``InvalidSettings`` with all errors. ``mapping`` is not
    changed."""
    context = ParseContext(
        secret=secret,
        fallbacks=fallbacks,
        time_zone=time_zone,
        cluster=cluster,
        cpu_count=cpu_count,
        environment=environment or {},
        platform=platform,
    )
    settings, found = try_parse(mapping, context)
    if settings is None:
        raise InvalidSettings([problem for problem in found if problem.is_error])
    return settings


def try_parse(mapping: Any, context: ParseContext) -> ParseResult:
    """Return the settings if they can be used, and all errors and warnings."""
    found: list[Problem] = []
    layers = layers_of(mapping, context, found)
    values = converted_values(layers, found)
    values |= _names(values, context)
    named = dict(_named_choices(values, found))
    choices = {name: each for name, (each, _) in named.items()}
    path = next((layer.path("broker") for layer in layers if "broker" in layer.names), "broker")
    choice = choose([layer.values for layer in layers], values, found, choices, path=path)
    found.extend(_doubts(values, choice, context))
    if any(problem.is_error for problem in found):
        return ParseResult(None, tuple(found))
    brokers = {name: _broker_settings(own, each) for name, (each, own) in named.items()}
    own = named[choice.alias][1] if choice.alias else values
    settings = _settings(values, _broker_settings(own, choice), brokers, context)
    if context.queue_brokers and values.get("ALT_CLUSTERS"):
        settings = replace(
            settings, queue_brokers=MaskedMapping(_queue_brokers(mapping, values, settings.broker, context))
        )
    return ParseResult(settings, tuple(found))


def _queue_brokers(
    mapping: Any, values: Mapping[str, Any], own: BrokerSettings, context: ParseContext
) -> dict[str, BrokerSettings]:
    """Queue → broker, for the queues of other clusters that are on another broker than ``own``. Their errors are
    ignored."""
    found = {}
    for name in (None, *values["ALT_CLUSTERS"]):
        other = try_parse(mapping, replace(context, cluster=name, queue_brokers=False)).settings
        if other is not None and other.queue != own.queue and not _same_place(other.broker, own):
            found[other.queue] = other.broker
    return found


def _same_place(one: BrokerSettings, other: BrokerSettings) -> bool:
    places = [(each.kind, each.class_path, each.options, each.alias) for each in (one, other)]
    return places[0] == places[1]


def layers_of(mapping: Any, context: ParseContext, found: list[Problem]) -> list[Layer]:
    """The layers of the settings; the first layer with a key decides."""
    if not isinstance(mapping, Mapping):
        sentence = f"Q_CLUSTER must be a dict, not a {type(mapping).__name__}."
        found.append(Problem(problems.NOT_A_DICT, "Q_CLUSTER", sentence))
        mapping = {}
    layers = [layer_of(mapping, "", found), environment_layer(context.environment, found)]
    own = [layer.values.get(key) for layer in layers for key in OWN_NAMES]
    cluster = context.cluster
    if cluster and cluster not in (own if own[0] else [*own, BY_KEY["name"].default]):
        alternatives = layers[0].values.get("ALT_CLUSTERS")
        overrides = alternatives.get(cluster) if isinstance(alternatives, Mapping) else None
        if isinstance(overrides, Mapping):
            layers.insert(0, _alternative(overrides, cluster, found))
    return layers


def _alternative(overrides: Mapping[Any, Any], cluster: str, found: list[Problem]) -> Layer:
    """The layer of one of ``ALT_CLUSTERS``, without ``name`` and ``queue``."""
    layer = layer_of(overrides, f"ALT_CLUSTERS[{cluster!r}].", found)
    for key in OWN_NAMES:
        if layer.values.get(key, cluster) != cluster:
            path = layer.path(key)
            sentence = f"{path} is ignored: the queue of this cluster is {cluster!r}."
            found.append(Problem(problems.NAMED_TWICE, path, sentence, "Remove it."))
    return Layer({key: value for key, value in layer.values.items() if key not in OWN_NAMES}, layer.names)


def _names(values: Mapping[str, Any], context: ParseContext) -> dict[str, str]:
    """The namespace, and the queue of this cluster."""
    name = values.get("name", BY_KEY["name"].default)
    return {"name": name, "queue": context.cluster or values.get("queue", name)}


def _named_choices(
    values: Mapping[str, Any], found: list[Problem]
) -> Iterator[tuple[str, tuple[BrokerChoice, Mapping[str, Any]]]]:
    """Each broker of ``brokers``, with its values. Other settings than those of a broker are errors there."""
    for name, settings in values.get("brokers", {}).items():
        layer = layer_of(settings, f"brokers[{name!r}].", found)
        for key in layer.values:
            if BY_KEY[key].section != "broker":
                sentence = f"{layer.path(key)} is not a setting of a broker."
                found.append(Problem(problems.UNKNOWN_KEY, layer.path(key), sentence))
        own = converted_values([layer], found)
        choice = choose([layer.values], own, found)._replace(alias=name)
        yield name, (choice, {**values, **own})


def _doubts(values: Mapping[str, Any], choice: BrokerChoice, context: ParseContext) -> Iterator[Problem]:
    """Problems of several values together, and of values from outside of ``Q_CLUSTER``."""
    if not context.secret:
        sentence = "There is no secret key, so that packages cannot be signed."
        yield Problem(problems.MISSING_KEY, "SECRET_KEY", sentence, "Set Django's SECRET_KEY.")
    try:
        queue_name().convert(context.cluster or "default")
    except InvalidValue:
        yield Problem(problems.BAD_VALUE, "cluster", f"The name of the cluster must be {queue_name().words}.")
    if values.get("time_zone") and context.time_zone is None:
        yield Problem(problems.NO_TIME_ZONES, "time_zone", "time_zone has no effect while USE_TZ is False.")
    workers, cpus = values.get("workers") or 0, _cpus(context)
    if workers > WORKERS_PER_CPU * cpus:
        sentence = f"{workers} workers on {cpus} CPU{'s' if cpus > 1 else ''} are many."
        yield Problem(problems.MANY_WORKERS, "workers", sentence, "Fewer are usually faster.")


def _cpus(context: ParseContext) -> int:
    return context.cpu_count or available_cpus()


def _settings(
    values: Mapping[str, Any],
    broker: BrokerSettings,
    brokers: Mapping[str, BrokerSettings],
    context: ParseContext,
) -> Settings:
    """Build the sections. Defaults that depend on other values are calculated here."""
    processes = _section("processes", values)
    processes["workers"] = processes.get("workers") or _cpus(context)
    processes.setdefault("start_method", "fork" if context.platform.startswith("linux") else "spawn")
    zone = values.get("time_zone", context.time_zone) if context.time_zone else None
    delay = {"retry_delay": values.get("retry", BY_KEY["retry"].default)}
    keys = {"secret": context.secret, "fallbacks": tuple(context.fallbacks), "salt": values["name"]}
    keys["queue"] = values["queue"]
    whole = _section("", values)
    whole["brokers"] = MaskedMapping(brokers)
    whole["reporters"] = MaskedMapping(values.get("error_reporter"))
    return Settings(
        **whole,
        broker=broker,
        signing=SigningSettings(**_section("signing", values), **keys),
        results=ResultSettings(**_section("results", values)),
        delivery=DeliverySettings(**(delay | _section("delivery", values))),
        schedule=ScheduleSettings(**(_section("schedule", values) | {"time_zone": zone})),
        processes=ProcessSettings(**processes),
    )


def _broker_settings(values: Mapping[str, Any], choice: BrokerChoice) -> BrokerSettings:
    names = {key: values[key] for key in OWN_NAMES}
    return BrokerSettings(
        kind=choice.kind,
        class_path=choice.class_path,
        options=MaskedMapping(choice.options),
        alias=choice.alias,
        **names,
        **_section("broker", values),
    )


def _section(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Field → value, for the given values of one section."""
    fields = ((option.field, option.key) for option in DEFINITIONS if option.section == section and option.field)
    return {field: values[key] for field, key in fields if key in values}
