"""The step from Django-Q's tables to those of this package, as an operation of a migration."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from django.db import models, router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models.base import ModelBase

from django_cluster.django_q.takeover_rows import Rows
from django_cluster.models.aliases import Alias

APP = "django_q"
SCHEDULES, RESULTS, QUEUE = "django_q_schedule", "django_q_task", "django_q_ormq"
PROXIES = {
    "Task": ("Task", "task", "tasks"),
    "Success": ("Success", "successful task", "successful tasks"),
    "Failure": ("Failure", "failed task", "failed tasks"),
    "Schedule": ("Schedule", "scheduled task", "scheduled tasks"),
    "OrmQ": ("QueuedTask", "queued task", "queued tasks"),
}
"""Django-Q's models → (the model here, how one of them is called, and several)."""


class _NamingModels(ModelBase):
    """Gives the models that migrations see Django-Q's names of columns, too: they have no fields of the class."""

    names: dict[str, str]

    def _prepare(cls) -> None:
        super()._prepare()  # type: ignore[misc]  # Django's own
        model: Any = cls
        for name, column in cls.names.items():
            Alias(column).contribute_to_class(model, name)


class TaskNames(metaclass=_NamingModels):
    names: ClassVar = {"cluster": "queue", "started": "enqueued_at", "stopped": "stopped_at"}


class ScheduleNames(metaclass=_NamingModels):
    names: ClassVar = {"cluster": "queue"}


class QueueNames(metaclass=_NamingModels):
    names: ClassVar[dict[str, str]] = {}


NAMES_OF = {
    **dict.fromkeys(("Task", "Success", "Failure"), TaskNames),
    "Schedule": ScheduleNames,
    "QueuedTask": QueueNames,
}


class Relation(NamedTuple):
    """A foreign key of the project to a table of Django-Q: its field before and after."""

    model: type[models.Model]
    """The model as it is afterwards: a table of SQLite is made anew from it."""
    before: Any
    after: Any

    @property
    def to_results(self) -> bool:
        return "task" in self.before.remote_field.model._meta.concrete_model._meta.db_table

    def free(self, editor: BaseDatabaseSchemaEditor) -> None:
        """Drop the constraint, whatever it refers to."""
        if editor.connection.vendor != "sqlite":  # there the table is made anew, with the new constraint
            loose = _without_constraint(self.before)
            held = copy.copy(self.before)
            held.db_constraint = True
            editor.alter_field(self.model, held, loose)

    def tie(self, editor: BaseDatabaseSchemaEditor) -> None:
        """Let the column have the type of the new key, and a constraint that refers to it."""
        editor.alter_field(self.model, _without_constraint(self.before), self.after)


def _without_constraint(field: Any) -> Any:
    loose = copy.copy(field)
    loose.db_constraint = False
    return loose


class TakeOver(Operation):
    """Copies what foreign keys point to, with its ids, lets them point to the copies, and makes the models proxies.

    Tables of Django-Q are kept. Tables that these migrations have made themselves are dropped. Backwards, the tables
    are brought up to date, and the foreign keys point to them again.
    """

    reversible = True
    reduces_to_sql = False

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        for name, (target, one, several) in PROXIES.items():
            given = {"proxy": True, "verbose_name": one, "verbose_name_plural": several}
            bases: Any = (NAMES_OF[target], f"django_cluster.{target.lower()}")
            state.models[app_label, name.lower()] = ModelState(app_label, name, [], given, bases)
        _forget_models(state)

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        tables = self._tables(app_label, schema_editor)
        if "django_cluster_schedule" not in tables or SCHEDULES not in tables:
            return
        relations = list(_relations(schema_editor, from_state, to_state, tables))
        rows = Rows(schema_editor.connection.alias, to_state.apps, kept=QUEUE in tables)
        for relation in relations:
            relation.free(schema_editor)
        rows.copy_schedules(referenced=any(not each.to_results for each in relations))
        rows.copy_results([(each.model, each.after) for each in relations if each.to_results])
        for relation in relations:
            relation.tie(schema_editor)
        if QUEUE not in tables:
            for name in ("Schedule", "Task"):
                schema_editor.delete_model(from_state.apps.get_model(app_label, name))

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        tables = self._tables(app_label, schema_editor)
        if "django_cluster_schedule" not in tables:
            return
        for name, table in (("Schedule", SCHEDULES), ("Task", RESULTS), ("OrmQ", QUEUE)):
            if table not in tables:
                schema_editor.create_model(to_state.apps.get_model(app_label, name))
        relations = list(_relations(schema_editor, *_whole_states(schema_editor, to_state), tables))
        rows = Rows(schema_editor.connection.alias, from_state.apps, kept=True)
        for relation in relations:
            relation.free(schema_editor)
        rows.return_schedules(to_state.apps.get_model(app_label, "Schedule"))
        wanted = [(each.model, each.before) for each in relations if each.to_results]
        rows.return_results(to_state.apps.get_model(app_label, "Task"), wanted)
        for relation in relations:
            relation.tie(schema_editor)

    def describe(self) -> str:
        return "Move schedules, and results that foreign keys point to, from the tables of Django-Q"

    def _tables(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor) -> set[str]:
        connection = schema_editor.connection
        if not router.allow_migrate(connection.alias, app_label):
            return set()
        with connection.cursor() as cursor:
            return set(connection.introspection.table_names(cursor))


def _whole_states(editor: BaseDatabaseSchemaEditor, old: ProjectState) -> tuple[ProjectState, ProjectState]:
    """The state of all applied migrations, now and with Django-Q's tables.

    On the way back Django hands over states without the apps whose migrations it sorts behind this one.
    """
    loader = MigrationLoader(editor.connection)
    applied = [node for node in loader.applied_migrations if node in loader.graph.nodes]
    now = loader.graph.make_state(nodes=applied, at_end=True, real_apps=loader.unmigrated_apps)
    then = now.clone()
    for name in PROXIES:
        then.models[APP, name.lower()] = old.models[APP, name.lower()].clone()
    _forget_models(then)
    return now, then


def _forget_models(state: ProjectState) -> None:
    """Let a state whose definitions were replaced make its models again."""
    state._relations = None  # type: ignore[attr-defined]  # Django's own
    state.__dict__.pop("apps", None)


def _relations(
    editor: BaseDatabaseSchemaEditor, before: ProjectState, after: ProjectState, tables: set[str]
) -> Iterator[Relation]:
    """The foreign keys of the project whose tables are in this database, those of many-to-many relations included."""
    mine = {f"{APP}.{name.lower()}" for name in PROXIES}
    for model in before.apps.get_models(include_auto_created=True):
        if model._meta.app_label in (APP, "django_cluster") or model._meta.db_table not in tables or model._meta.proxy:
            continue
        for field in model._meta.local_fields:
            if isinstance(field, models.ForeignKey) and field.remote_field.model._meta.label_lower in mine:
                now: Any = after.apps.get_model(model._meta.app_label, model.__name__)
                yield Relation(now, field, now._meta.get_field(field.name))
