"""What travels, what is kept and what connects shows no argument, no result and no secret when it is printed."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import django_cluster
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage
from django_cluster.core.compositions import Step, TaskCall
from django_cluster.core.messages import FailureDetails, Job, Outcome, TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.payload_references import PayloadReference
from django_cluster.core.settings import BrokerSettings, Settings, SigningSettings
from django_cluster.core.settings.brokers import BrokerChoice
from django_cluster.lifecycle.send import AddressedMessage
from django_cluster.reporters.base import FailedRun

SECRET = "hush"
UNSHOWN = frozenset(
    {"args", "kwargs", "arguments", "result", "payload", "body", "secret", "fallbacks", "chain", "token", "password"}
    | {"traceback", "environment", "reporters", "label"}
)
"""Fields of these names hold what nobody should read in a log, wherever they are."""
FINE = {
    *("Collector.label", "Snapshot.label", "Settings.label", "Recurrence.label", "SettingDefinition.secret"),
    *("Card.label", "EnqueuedTask.args", "EnqueuedTask.kwargs"),
}
"""Labels that people give, and whether a setting is a secret: no contents. What a test has enqueued is its own."""


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(django_cluster.__path__, "django_cluster."):
        if ".migrations" not in found.name and ".management.commands" not in found.name:
            try:
                yield importlib.import_module(found.name)
            except ImportError:  # an optional library
                continue


def values() -> list[type[Any]]:
    """The dataclasses and named tuples of the package."""
    found = {
        each
        for module in modules()
        for each in vars(module).values()
        if isinstance(each, type)
        and each.__module__.startswith("django_cluster.")
        and (dataclasses.is_dataclass(each) or (issubclass(each, tuple) and hasattr(each, "_fields")))
    }
    return sorted(found, key=lambda each: each.__qualname__)


def shown_fields(kind: type[Any]) -> set[str]:
    if dataclasses.is_dataclass(kind):
        return {each.name for each in dataclasses.fields(kind) if each.repr}
    if "__repr__" in vars(kind) and vars(kind)["__repr__"].__module__ == kind.__module__:
        return set()
    fields: tuple[str, ...] = kind._fields
    return set(fields)


def test_no_value_of_ours_shows_a_field_that_may_be_secret() -> None:
    found = values()

    assert len(found) > 60
    shown = {f"{kind.__qualname__}.{name}" for kind in found for name in shown_fields(kind) & UNSHOWN}
    assert shown - FINE == set()


def test_what_travels_is_printed_without_its_contents() -> None:
    header = TaskHeader(id="1" * 32, name="one", func="a.b", enqueued_at=1.0, options=TaskOptions(chain=(SECRET,)))
    package = TaskPackage(header=header, args=(SECRET,), kwargs={"x": SECRET})
    outcome = Outcome(
        1, "r", 1, "1" * 32, "one", "a.b", {"chain": [SECRET]}, 1.0, 1.0, 1.0, "failure", "w",
        SECRET.encode(), SECRET.encode(), ("ValueError", SECRET, SECRET), SECRET,
    )  # fmt: skip
    run = FailedRun(
        id="1", name="one", func="a.b", group=None, queue="q", attempt=1, final=True, worker="w", kind="ValueError",
        message=SECRET, traceback=SECRET, error=ValueError(SECRET), package=package,
    )  # fmt: skip
    everything = [
        package, outcome, run, Job(1, SECRET.encode(), "r", 1), Message(SECRET), Delivery("r", SECRET, 1),
        QueuedMessage(SECRET, 0, 0, None, leased=False), AddressedMessage(None, None, Message(SECRET)),
        FailureDetails("k", SECRET, SECRET),
        TaskCall("a.b", (SECRET,), {"x": SECRET}), PayloadReference("1", SECRET.encode()),
        BrokerChoice("redis", {"url": SECRET}),
        Step("k", "next", SECRET, (SECRET,)),  # type: ignore[arg-type]  # the word is enough here
    ]  # fmt: skip

    for value in everything:
        assert SECRET not in repr(value), type(value)
        assert SECRET not in str(value), type(value)
    assert "a.b" in repr(package)
    assert "failure" in repr(outcome)


def test_settings_are_printed_without_secrets() -> None:
    broker = BrokerSettings(kind="redis", options={"url": f"redis://:{SECRET}@h"})
    settings = Settings(
        broker=broker,
        signing=SigningSettings(secret=SECRET, fallbacks=(SECRET,)),
        brokers={"other": broker},
        queue_brokers={"q": broker},
        reporters={"rollbar": {"access_token": SECRET}},
    )

    assert SECRET not in repr(settings)
