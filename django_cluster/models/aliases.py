"""Second names of columns: those that Django-Q gives them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from django.db import models

Value = TypeVar("Value")
Row = TypeVar("Row", bound=models.Model)

COMPARISONS = frozenset({"exact", "in", "isnull", "lt", "lte", "gt", "gte", "range"})
"""Lookups for which a value can be converted; others would compare text with what a column holds."""


class Alias(Generic[Value]):
    """Another name of a field of the same model: it can be read, set, queried and updated by it.

    ``cluster: Alias[str | None] = Alias("queue")`` makes ``Task(cluster="mail")``, ``filter(cluster="mail")``,
    ``order_by("cluster")``, ``values("cluster")``, ``F("cluster")`` and ``update(cluster="mail")`` mean the column
    ``queue``. Fixtures may use it. Forms, serializers, migrations and ``SELECT`` know the field only.

    ``meaning``: for a name under which the column is another value, a ``ConvertedField``.

    To Django it is a virtual field (one that is no column of its own) with the column of the other: ``generated`` keeps
    it out of what is written and validated, so that ``AliasQuerySet`` has to put the field in its place in updates.
    """

    def __init__(self, target: str, meaning: type[ConvertedField] | None = None) -> None:
        self.target, self.meaning = target, meaning

    def contribute_to_class(self, model: type[models.Model], name: str) -> None:
        field: Any = copy.copy(model._meta.get_field(self.target))
        bases = (*([self.meaning] if self.meaning else []), AliasField, type(field))
        field.__class__ = type("Alias", bases, {"alias_of": self.target, "alias_column": field.column})
        field.contribute_to_class(model, name)

    # For type checkers: at run time a property stands in its place.

    def __get__(self, row: models.Model, owner: type[models.Model]) -> Value:
        raise NotImplementedError

    def __set__(self, row: models.Model, value: Value) -> None:
        raise NotImplementedError


class AliasField:
    """What ``Alias`` adds to a copy of the field. Proxy models inherit it by ``contribute_to_class``."""

    alias_of: str
    """The name of the field."""
    alias_column: str
    name: str
    generated = True

    def get_attname_column(self) -> tuple[str, str]:
        return self.name, self.alias_column

    def contribute_to_class(self, model: type[models.Model], name: str, private_only: bool = True) -> None:
        self.name = name
        super().contribute_to_class(model, name, private_only=True)  # type: ignore[misc]  # it is mixed into a field
        self.concrete = self.serialize = False
        setattr(model, name, property(self.read, self.assign, doc=f"Another name of ``{self.alias_of}``."))

    def formfield(self, **_: Any) -> None:
        """No field of a form: it has the one of the column."""

    def read(self, row: models.Model) -> Any:
        """The value of a row under this name."""
        return getattr(row, self.alias_of)

    def assign(self, row: models.Model, value: Any) -> None:
        """Set the value of a row under this name."""
        setattr(row, self.alias_of, value)

    def columns(self, value: Any) -> dict[str, Any]:
        """What an update of this name means: names of fields → values or expressions."""
        return {self.alias_of: value}


class ConvertedField:
    """The meaning of an alias under which a column is another value. To be derived from: two functions.

    Conditions can only compare (``COMPARISONS``).
    """

    alias_of: str

    def to_column(self, value: Any) -> Any:
        """Return what the column holds for a value that is not None."""
        raise NotImplementedError

    def from_column(self, value: Any) -> Any:
        """Return the value for what the column holds, which is not None."""
        raise NotImplementedError

    def read(self, row: models.Model) -> Any:
        held = getattr(row, self.alias_of)
        return None if held is None else self.from_column(held)

    def assign(self, row: models.Model, value: Any) -> None:
        setattr(row, self.alias_of, None if value is None else self.to_column(value))

    def columns(self, value: Any) -> dict[str, Any]:
        return {self.alias_of: value if hasattr(value, "resolve_expression") else self.get_prep_value(value)}

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else self.to_column(value)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else self.from_column(value)

    def to_python(self, value: Any) -> Any:
        return value

    def get_lookup(self, name: str) -> Any:
        return super().get_lookup(name) if name in COMPARISONS else None  # type: ignore[misc]  # it is mixed into a field


class AliasQuerySet(models.QuerySet[Row]):
    """Rows that are updated by either name of a field."""

    def update(self, **values: Any) -> int:
        return super().update(**by_field(self.model, values))

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_update(self, objs: Iterable[Row], fields: Iterable[str], batch_size: int | None = None) -> int:
        return super().bulk_update(objs, [field_name(self.model, name) for name in fields], batch_size)

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[Row], *args: Any, **kwargs: Any) -> list[Row]:
        for option in ("update_fields", "unique_fields"):
            if kwargs.get(option):
                kwargs[option] = [field_name(self.model, name) for name in kwargs[option]]
        return super().bulk_create(objs, *args, **kwargs)


def field_name(model: type[models.Model], name: str) -> str:
    """The name of the field that ``name``, perhaps an alias, means."""
    if name == "pk":
        return name
    found: str = getattr(model._meta.get_field(name), "alias_of", name)
    return found


def by_field(model: type[models.Model], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of an update by the names of fields, where some may be given by aliases."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        field = model._meta.get_field(name) if name != "pk" else None
        found.update(field.columns(value) if isinstance(field, AliasField) else {name: value})
    return found
