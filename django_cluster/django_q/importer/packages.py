"""Conversion of Django-Q's signed task packages."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django.core import signing

from django_cluster.core.compositions import in_chain, packages_of_links
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.core.option_values import build_options
from django_cluster.core.task_ids import derived_id, task_name
from django_cluster.importing.report import NotImportable
from django_cluster.lifecycle.admission import ALL_FUNCTIONS, allowed_functions

KEPT_OPTIONS = ("hook", "group", "save", "cached", "ack_failure", "timeout", "cluster")
"""Options of a package with the same meaning here."""

Compose = Callable[[Sequence[TaskPackage]], TaskPackage]
"""Takes the links of a chain, returns the first, which contains the others."""


class _Unpickler(pickle.Unpickler):
    """Finds time zones that older versions of Django had: their package need not be installed any longer."""

    def find_class(self, module: str, name: str) -> Any:
        return OLD_ZONES[module, name] if (module, name) in OLD_ZONES else super().find_class(module, name)


def _utc(*_: Any) -> tzinfo:
    return UTC


def _zone(name: str, *_: Any) -> tzinfo:
    return ZoneInfo(name)


OLD_ZONES: Mapping[tuple[str, str], Callable[..., tzinfo]] = {
    ("pytz", "_UTC"): _utc,
    ("pytz", "_p"): _zone,
    ("django.utils.timezone", "UTC"): _utc,
}
"""What makes a time zone in a pickle → what makes it today."""


class _Pickles:
    """What ``signing.loads`` calls after it has verified the signature."""

    def loads(self, data: bytes) -> Any:
        return _Unpickler(io.BytesIO(data)).load()  # the signature was that of this project's key


class PackageReader:
    """``site``: the ``name`` in ``Q_CLUSTER`` with which Django-Q has signed. ``home``: the queue of this namespace.

    ``functions``: the setting. ``forbidden``: whether no pickle may be opened, so that no package can be read.
    """

    def __init__(
        self,
        secret: bytes,
        fallbacks: Sequence[bytes],
        site: str,
        *,
        home: str,
        compose: Compose,
        forbidden: bool = False,
        functions: tuple[str, ...] = ALL_FUNCTIONS,
    ) -> None:
        self._forbidden, self._allowed = forbidden, allowed_functions(functions)
        self._home, self._compose = home, compose
        self._keys = {"key": secret, "fallback_keys": list(fallbacks), "salt": site}

    def read(self, payload: str, not_before: datetime | None = None) -> TaskPackage:
        """Verify and convert a package. Raises ``NotImportable``."""
        if self._forbidden:
            raise NotImportable("is a pickle, and serializer = 'json' forbids opening it: let Django-Q finish it.")
        try:
            task = signing.loads(payload, serializer=_Pickles, **self._keys)  # type: ignore[arg-type]  # only loads
        except signing.BadSignature as error:
            raise NotImportable("is signed with another SECRET_KEY or name (see --site).") from error
        except Exception as error:
            raise NotImportable(f"cannot be opened: {type(error).__name__}: {error}") from error
        try:
            package = _package(task, not_before)
            self._allowed.check_package(package.header)
            links = _links(task.get("chain") or (), package)
            return self._compose(in_chain([package, *links], self._home)) if links else package
        except NotImportable:
            raise
        except Exception as error:
            raise NotImportable(f"cannot be sent here: {error}") from error


def _package(task: Mapping[str, Any], not_before: datetime | None) -> TaskPackage:
    if task.get("iter_count"):
        raise NotImportable("belongs to an async_iter: let Django-Q finish it.")
    given = {name: task[name] for name in KEPT_OPTIONS if task.get(name) is not None}
    if not_before is not None:
        given["eta"] = not_before
    header = TaskHeader(
        id=task["id"],
        name=task.get("name") or task_name(task["id"]),
        func=dotted_path(task["func"]),
        enqueued_at=task["started"].timestamp(),
        options=build_options(given),
    )
    return TaskPackage(header=header, args=tuple(task.get("args") or ()), kwargs=task.get("kwargs") or {})


def _links(calls: Sequence[Any], first: TaskPackage) -> list[TaskPackage]:
    """The remaining links of a chain, with ids that are the same at each import."""
    return [
        replace(link, header=replace(link.header, id=derived_id("link", first.id, number)))
        for number, link in enumerate(packages_of_links(calls, first.header.options))
    ]
