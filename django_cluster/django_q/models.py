"""Django-Q's models: proxies under the label ``django_q``, whose rows are those of this package.

Any row of the proxied model is an instance of the proxy: ``isinstance(fetch(id), django_q.models.Task)``.
"""

from __future__ import annotations

from typing import Any

from django.db.models.base import ModelBase
from django.db.models.signals import pre_save

from django_cluster import models as ours
from django_cluster.django_q.shim.signing import SignedPackage
from django_cluster.errors import PackageError
from django_cluster.models.aliases import AliasField
from django_cluster.models.schedule import seal_from_fixture


def _meta(model: type[Any]) -> type[Any]:
    """The ``Meta`` of a proxy that is called as its model is."""
    names = {name: getattr(model._meta, name) for name in ("verbose_name", "verbose_name_plural")}
    return type("Meta", (), {"app_label": "django_q", "proxy": True, **names})


class ProxyBase(ModelBase):
    """Rows are instances of a proxy, whichever class has read them."""

    def __instancecheck__(cls, row: Any) -> bool:
        return super().__instancecheck__(row) or issubclass(type(row), cls.__bases__)


class Task(ours.Task, metaclass=ProxyBase):
    Meta = _meta(ours.Task)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not args:
            kwargs.setdefault("success", True)
        super().__init__(*args, **kwargs)


class _Ended(ProxyBase):
    def __instancecheck__(cls, row: Any) -> bool:
        return ModelBase.__instancecheck__(cls, row) or (
            isinstance(row, ours.Task) and row.success is (cls.__name__ == "Success")
        )


class Success(ours.Success, metaclass=_Ended):
    Meta = _meta(ours.Success)


class Failure(ours.Failure, metaclass=_Ended):
    Meta = _meta(ours.Failure)


class Schedule(ours.Schedule, metaclass=ProxyBase):
    Meta = _meta(ours.Schedule)

    @classmethod
    def seal_fixtures(cls) -> None:
        """Let fixtures of ``django_q.schedule`` be sealed, too."""
        pre_save.connect(seal_from_fixture, sender=cls, dispatch_uid="django_q.schedule_seal")


class OrmQ(ours.QueuedTask, metaclass=ProxyBase):
    """A waiting message, which is opened once its signature was verified."""

    Meta = _meta(ours.QueuedTask)

    @property
    def task(self) -> dict[str, Any]:
        """The package as a dict; of a message that cannot be opened only the id, ``*`` and the kind of error."""
        try:
            return dict(SignedPackage.loads(self.payload))
        except PackageError as error:
            return {"id": f"*{type(error).__name__}"}

    def args(self) -> Any:
        return self.task.get("args")

    def kwargs(self) -> Any:
        return self.task.get("kwargs")

    def q_options(self) -> dict[str, Any]:
        own = ("id", "name", "func", "args", "kwargs", "group", "started")
        return {name: value for name, value in self.task.items() if name not in own}


PROXIES: tuple[type[Any], ...] = (Task, Success, Failure, Schedule, OrmQ)

for _proxy in PROXIES:
    for _field in (*_proxy._meta.private_fields, *_proxy._meta.concrete_model._meta.private_fields):
        if isinstance(_field, AliasField):
            _field.serialize = True  # serializers of all fields, which ask the concrete model, name them
