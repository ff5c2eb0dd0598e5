"""``schedule()``: validates a schedule and saves it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, tzinfo
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, router

from django_cluster.core.arguments import args_to_text, kwargs_to_text
from django_cluster.core.call_options import given_options
from django_cluster.core.correlation import current_correlation_id
from django_cluster.core.events.schedules import UNKNOWN_FUNCTION
from django_cluster.core.function_signatures import check_function, load_function
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.option_values import with_paths
from django_cluster.core.packages import check_arguments, check_hook
from django_cluster.core.signing import dump_arguments
from django_cluster.core.time import UnclearLocalTime, aware
from django_cluster.errors import UnknownFunction
from django_cluster.models.schedule import Schedule
from django_cluster.schedules.planning import task_options

SCHEDULE_OPTIONS = frozenset({"catch_up", "enabled", "ends_at", "no_overlap", "starts_at", "time_zone"})
"""Options that Django-Q does not have: as plain keywords they are arguments of the function."""

KNOWN_TO_SCHEDULES = SCHEDULE_OPTIONS | {"broker_name"}
"""Options of a schedule besides those of a task; ``broker_name`` is Django-Q's name of the queue."""


def build_schedule(
    func: Callable[..., Any] | str,
    *args: Any,
    name: str | None = None,
    hook: Callable[..., Any] | str | None = None,
    schedule_type: str = Schedule.ONCE,
    minutes: int | None = None,
    repeats: int = -1,
    next_run: datetime | None = None,
    cron: str | None = None,
    queue: str | None = None,
    intended_date_kwarg: str | None = None,
    q_zone: tzinfo | None = None,
    q_database: str | None = None,
    q_json: bool = False,
    **kwargs: Any,
) -> Schedule:
    """Save a schedule, and return its row.

    The run of a schedule of the type ONCE belongs to what has created it: it has its correlation id.

    ``q_zone``: the time zone in which the first run of a cron expression is calculated; None: the project's.
    ``q_database``: the database of the row; None asks the router. ``q_json``: whether its tasks carry their arguments
    as JSON, which can hold less than the text of a row.

    Raises ``IntegrityError`` for a name that is used already, ``ValidationError`` for invalid values,
    ``UnknownFunction`` and ``NotSerializable`` for what cannot be kept, ``UnsuitableFunction`` for an async function,
    ``TypeError`` for arguments that the function does not take.
    """
    if schedule_type == Schedule.ONCE and (inherited := current_correlation_id()) is not None:
        kwargs["q_options"] = {"correlation_id": inherited, **(kwargs.get("q_options") or {})}
    alias = q_database or router.db_for_write(Schedule)
    if name and Schedule.objects.using(alias).filter(name=name).exists():
        raise IntegrityError(f"There is a schedule named {name!r} already.")
    own, texts = arguments_as_text(args, kwargs)
    if q_json:
        check_json(args, {key: value for key, value in kwargs.items() if key != "q_options"})
    check_function(func)
    if hook:
        check_hook(hook)
    row = Schedule(
        name=name,
        func=dotted_path(func),
        hook=dotted_path(hook) if hook else None,
        schedule_type=schedule_type,
        minutes=minutes,
        repeats=repeats,
        next_run=next_run,
        cron=cron,
        queue=queue,
        intended_date_kwarg=intended_date_kwarg,
        **texts,
        **own,
    )
    for path in filter(None, (row.func, row.hook)):
        check_function_exists(path)
    localize_naive_moments(row)
    check_schedule(row, kwargs.get("q_options"))
    check_call_of_schedule(func, args, kwargs, intended_date_kwarg)
    if schedule_type == Schedule.CRON and next_run is None:
        row.start_at_next_match(q_zone)
    row.save(using=alias)
    return row


def check_call_of_schedule(
    func: Callable[..., Any] | str, args: Collection[Any], kwargs: Mapping[str, Any] | None, date_kwarg: str | None
) -> None:
    """Raise ``TypeError`` if the function cannot be called with what each run gives it.

    ``kwargs`` may have ``q_options`` among them. ``date_kwarg``: the argument that gets the intended time. A function
    that is named by its path is looked at only if its module is imported already.
    """
    names = (kwargs or {}).keys() - {"q_options"}
    check_arguments(func, [len(args)], dict.fromkeys([*sorted(names), *([date_kwarg] if date_kwarg else [])]))


def check_schedule(row: Schedule, options: Mapping[str, Any] | None) -> None:
    """Raise ``ValidationError`` or ``ValueError`` for a schedule that could never be fired."""
    row.full_clean(validate_unique=False)  # it would look in the database that the router reads
    task_options(row, {name: value for name, value in (options or {}).items() if name not in SCHEDULE_OPTIONS})


def check_json(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise ``NotSerializable`` for arguments that a task with ``serializer = "json"`` could not be sent with."""
    dump_arguments(args, kwargs)


def check_function_exists(path: str) -> None:
    """Raise ``UnknownFunction`` if the module is there and has no such function, as the form of the admin does.

    A module that does not exist in this program, or cannot be imported in it, may be another one's: that is logged. A
    module that is just being imported may have the function later.
    """
    try:
        load_function(path)
    except UnknownFunction as error:
        parts, cause = path.split("."), error.__cause__
        modules = [sys.modules.get(".".join(parts[:length])) for length in range(1, len(parts))]
        if any(getattr(getattr(module, "__spec__", None), "_initializing", False) for module in modules):
            return
        if modules[0] is not None and (cause is None or isinstance(cause, AttributeError)):
            raise
        UNKNOWN_FUNCTION.log(error=error)


def localize_naive_moments(row: Schedule) -> None:
    """Let naive moments be what a form of the admin reads in them: times in Django's current time zone.

    Warns of each, as Django does. Raises ``ValidationError`` for what the clock there shows never, or twice.
    """
    for name in ("next_run", "starts_at", "ends_at"):
        moment = getattr(row, name)
        if not isinstance(moment, datetime) or moment.tzinfo is not None:
            continue
        try:
            read = aware(moment)
        except UnclearLocalTime as error:
            raise ValidationError({name: str(error)}) from None
        if read is not moment:
            sentence = f"Schedule.{name} received a naive datetime ({moment}) while time zone support is active."
            warnings.warn(sentence, RuntimeWarning, stacklevel=4)
            setattr(row, name, read)


def arguments_as_text(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """(the columns that are given as options, the texts of the arguments); nothing that is given is changed."""
    given, keywords = given_options(kwargs.get("q_options") or {}, KNOWN_TO_SCHEDULES), dict(kwargs)
    own = {name: given.pop(name) for name in SCHEDULE_OPTIONS & given.keys()}
    if given:
        keywords["q_options"] = with_paths(given)
    else:
        keywords.pop("q_options", None)
    return own, {"args": args_to_text(args), "kwargs": kwargs_to_text(keywords)}
