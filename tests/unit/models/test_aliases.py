"""``cluster``, Django-Q's name of the column ``queue``."""

from __future__ import annotations

import pytest
from django.core import serializers
from django.db.models import F, Max
from django.forms import modelform_factory

from django_cluster.models import Schedule, Success, Task

pytestmark = pytest.mark.django_db


def make(**columns: object) -> Schedule:
    return Schedule.objects.create(func="math.sqrt", args="4", **columns)


def test_an_instance_is_made_read_and_changed_by_either_name() -> None:
    row = Schedule(cluster="mail")
    assert (row.queue, row.cluster) == ("mail", "mail")
    row.cluster = "books"
    assert row.queue == "books"
    row.queue = None
    assert row.cluster is None


@pytest.mark.parametrize("name", ["queue", "cluster"])
def test_rows_are_created_and_found_by_either_name(name: str) -> None:
    mail, _other, none = make(**{name: "mail"}), make(**{name: "books"}), make()
    assert Schedule.objects.get(**{name: "mail"}) == mail
    assert Schedule.objects.get(**{f"{name}__isnull": True}) == none
    assert Schedule.objects.filter(**{f"{name}__startswith": "b"}).count() == 1
    assert Schedule.objects.exclude(**{name: None}).filter(queue=F(name)).count() == 2


@pytest.mark.parametrize("name", ["queue", "cluster"])
def test_rows_are_ordered_and_read_by_either_name(name: str) -> None:
    make(queue="b"), make(queue="a")
    assert list(Schedule.objects.order_by(f"-{name}").values_list(name, flat=True)) == ["b", "a"]
    assert Schedule.objects.values(name).order_by(name)[0] == {name: "a"}
    assert Schedule.objects.aggregate(last=Max(name)) == {"last": "b"}
    assert Schedule.objects.only(name).order_by(name)[0].queue == "a"
    assert Task.objects.filter(**{name: "a"}).order_by(name).count() == 0
    assert Success.objects.filter(**{name: "a"}).count() == 0


@pytest.mark.parametrize("name", ["queue", "cluster"])
def test_a_changed_queue_is_sealed_anew_by_either_name(name: str) -> None:
    from django_cluster.models.schedule_seal import ensure_sealed

    row = make(queue="mail")
    Schedule.objects.update(**{name: "books"})
    row.refresh_from_db()
    assert row.queue == "books"
    ensure_sealed(row)
    setattr(row, name, "night")
    row.save(update_fields=[name])
    row.refresh_from_db()
    assert row.queue == "night"
    ensure_sealed(row)


def test_many_rows_are_created_at_once() -> None:
    Schedule.objects.bulk_create([Schedule(func="math.sqrt", args="4", queue=name) for name in ("a", "b")])
    assert set(Schedule.objects.values_list("cluster", flat=True)) == {"a", "b"}


def test_a_fixture_says_either_name() -> None:
    for name in ("queue", "cluster"):
        text = f'[{{"model": "django_cluster.schedule", "fields": {{"func": "math.sqrt", "{name}": "mail"}}}}]'
        (found,) = serializers.deserialize("json", text)
        assert isinstance(found.object, Schedule)
        assert found.object.queue == "mail"
    written = serializers.serialize("python", [Schedule(func="math.sqrt", queue="mail")])[0]["fields"]
    assert written["queue"] == "mail"
    assert "cluster" not in written


def test_a_form_has_one_field() -> None:
    form = modelform_factory(Schedule, fields="__all__")
    assert "queue" in form.base_fields
    assert "cluster" not in form.base_fields
