"""The places that settings come from: an alternative cluster, ``Q_CLUSTER`` itself, the environment.

A layer holds the values of one place, under canonical keys and with functions already called. A value in an upper layer
hides the one in a lower layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django_cluster.core.settings import problems
from django_cluster.core.settings.definition import SettingDefinition
from django_cluster.core.settings.retired import RETIRED, renamed
from django_cluster.core.settings.table import BY_KEY, DEFINITIONS
from django_cluster.core.settings.values import InvalidValue, short_repr
from django_cluster.core.suggestions import closest_match
from django_cluster.errors import Problem

SYNONYMS = {
    "concurrency": "workers",
    "max_jobs": "workers",
    "processes": "workers",
    "worker_concurrency": "workers",
    "prefetch_count": "queue_limit",
    "visibility_timeout": "retry",
    "job_retry": "max_attempts",
    "max_retries": "max_attempts",
    "attempt_count": "max_attempts",
    "job_retry_after": "retry_delay",
    "job_timeout": "timeout",
    "task_timeout": "timeout",
    "time_limit": "timeout",
    "max_tasks_per_child": "recycle",
    "keep_results": "cached",
    "database": "orm",
    "redis_url": "redis",
}
"""What other task queues, and Django-Q in places, call our options."""

CALLED_NAMES = re.compile(r"pass|secret|token|key|user|host|url", re.IGNORECASE)
"""In a connection's dict, functions under such names stand for a value; others (a ``redis_connect_func``)
are what the client library wants."""

VARIABLE_PREFIX = "Q_CLUSTER_"

VARIABLES = {variable: option for option in DEFINITIONS for variable in option.variables}
"""Environment variable → setting. An environment has fewer variables than there are settings."""
VARIABLE_ORDER = {variable: place for place, variable in enumerate(VARIABLES)}
"""The first of several variables of one setting wins."""


class Source(StrEnum):
    """The kind of place that a value comes from."""

    SETTING = "setting"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Layer:
    """The values of one place."""

    values: Mapping[str, Any] = field(repr=False)
    """Canonical key → value as it is written."""
    names: Mapping[str, str]
    """Canonical key → the name under which it is written there: ``ALT_CLUSTERS['long'].timeout``,
    ``Q_CLUSTER_RETRY``."""
    source: Source = Source.SETTING

    def path(self, key: str) -> str:
        """The subject of a sentence about the value of a key."""
        prefix = "The environment variable " if self.source is Source.ENVIRONMENT else ""
        return prefix + self.names[key]


def layer_of(mapping: Mapping[Any, Any], prefix: str, found: list[Problem]) -> Layer:
    """A dict of settings as a layer. ``prefix`` precedes its keys in messages; what is wrong is added to ``found``."""
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for key, raw in mapping.items():
        path = f"{prefix}{key}"
        option = BY_KEY.get(key) if isinstance(key, str) else None
        if option is None and key in RETIRED:
            found.append(Problem(problems.RENAMED_KEY, path, renamed(path, f"{prefix}{RETIRED[key]}")))
        elif option is None:
            found.append(Problem(problems.UNKNOWN_KEY, path, f"{path} is not a known setting.", _suggestion(key)))
        elif option.key in values:
            sentence = f"{path} is given twice: it is the same as {names[option.key]}."
            found.append(Problem(problems.TWO_NAMES, path, sentence, "Remove one of them."))
        else:
            names[option.key] = path
            values.update(_called(option.key, raw, path, found))
    return Layer(values, names)


def environment_layer(environment: Mapping[str, str], found: list[Problem]) -> Layer:
    """The variables ``Q_CLUSTER_<KEY>`` as a layer. Empty variables are ignored."""
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    given = [name for name in environment if name in VARIABLES]
    for variable in sorted(given, key=VARIABLE_ORDER.__getitem__):
        option, text = VARIABLES[variable], environment[variable].strip()
        if text and option.key not in values:
            values[option.key] = option.value_type.read(text)
            names[option.key] = variable
    found.extend(_unknown_variables(environment))
    return Layer(values, names, Source.ENVIRONMENT)


def converted_values(layers: Sequence[Layer], found: list[Problem]) -> dict[str, Any]:
    """Key → value, for all keys that are given and valid. None counts as not given."""
    values: dict[str, Any] = {}
    for option in DEFINITIONS:
        layer = next((each for each in layers if option.key in each.values), None)
        if layer is None or layer.values[option.key] is None:
            continue
        try:
            values[option.key] = option.value_type.convert(layer.values[option.key])
        except InvalidValue as error:
            path, raw = layer.path(option.key), layer.values[option.key]
            found.append(Problem(problems.BAD_VALUE, path, f"{path} {str(error) or _expected(option, raw)}"))
    return values


def _expected(option: SettingDefinition, raw: object) -> str:
    written = f"a {type(raw).__name__}" if option.secret else short_repr(raw)
    return f"must be {option.value_type.words}, not {written}."


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[Problem]:
    known = VARIABLES.keys() | {f"{VARIABLE_PREFIX}NAME"}
    for name in sorted(each for each in environment if each.startswith(VARIABLE_PREFIX)):
        if name not in known:
            key = name.removeprefix(VARIABLE_PREFIX).lower()
            if key in RETIRED:
                sentence = renamed(f"The environment variable {name}", f"{VARIABLE_PREFIX}{RETIRED[key].upper()}")
                yield Problem(problems.RENAMED_KEY, name, sentence)
                continue
            hint = _did_you_mean(closest_match(name, sorted(known)))
            yield Problem(problems.UNKNOWN_VARIABLE, name, f"The environment variable {name} is not known.", hint)


def _called(key: str, raw: Any, path: str, found: list[Problem]) -> dict[str, Any]:
    """The value, with functions in it replaced by what they return; nothing if one of them fails."""
    try:
        return {key: _value_of(raw, deep=BY_KEY[key].section == "broker")}
    except Exception as error:  # noqa: BLE001  a function of the user's may raise anything
        sentence = f"The function for {path} raised {type(error).__name__}."
        found.append(Problem(problems.BAD_CALLABLE, path, sentence))
        return {}


def _value_of(raw: Any, *, deep: bool) -> Any:
    """``deep``: also in dicts inside of the dict, as connections have them."""
    value = raw() if _is_function(raw) else raw
    if not isinstance(value, Mapping):
        return value
    return {name: _value_in_dict(str(name), each, deep=deep) for name, each in value.items()}


def _value_in_dict(name: str, value: Any, *, deep: bool) -> Any:
    if deep and isinstance(value, Mapping):
        return {key: _value_in_dict(str(key), each, deep=True) for key, each in value.items()}
    return value() if _is_function(value) and CALLED_NAMES.search(name) else value


def _is_function(value: object) -> bool:
    return callable(value) and not isinstance(value, type)


def _suggestion(key: object) -> str:
    if not isinstance(key, str):
        return "Keys are text."
    return _did_you_mean(closest_match(key, BY_KEY, SYNONYMS))


def _did_you_mean(name: str) -> str:
    return f"Did you mean {name!r}?" if name else ""
