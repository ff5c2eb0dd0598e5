"""The pages of schedules: the form and what it refuses, the preview, and the acts."""

from __future__ import annotations

import html
import re
import sys
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_cluster.client.client import get_client
from django_cluster.core.settings import ScheduleSettings
from django_cluster.models import QueuedTask, Schedule
from django_cluster.models.schedule import WRITTEN_BY_SCHEDULERS
from django_cluster.schedules import declarations
from django_cluster.schedules.dispatcher import ScheduleDispatcher
from django_cluster.testing.outcomes import make_failure
from tests.fields import fields
from tests.integration.admin_client import act, page, person, save
from tests.sample import tasks

pytestmark = pytest.mark.django_db

ADD = "admin:django_cluster_schedule_add"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """``tests.sample.tasks.add`` is a registered task, and the only one."""
    monkeypatch.setattr(declarations, "_tasks", set())
    declarations.register_task(tasks.add)


def filled(**changes: str) -> dict[str, str]:
    return {
        **{"name": "hourly report", "func": "tests.sample.tasks.add", "args": "1, 2", "schedule_type": Schedule.HOURLY},
        **{"repeats": "-1", "next_run_0": "2026-11-20", "next_run_1": "12:00:00", "enabled": "on", **changes},
    }


def made(**changes: Any) -> Schedule:
    later = timezone.now() + timedelta(days=1)
    fields = {"name": "nightly", "func": "tests.sample.tasks.add", "args": "1, 2", "next_run": later}
    return Schedule.objects.create(**{**fields, "schedule_type": Schedule.DAILY, **changes})


def problems(client: Client, form: dict[str, str], url: str = "") -> dict[str, list[str]]:
    """What the form says against it; nothing when it was saved."""
    response = client.post(url or reverse(ADD), form)
    if response.status_code == 302:
        return {}
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("rights", [("view_schedule",), ("view_schedule", "change_schedule")])
def test_who_may_only_look_sees_a_schedule_of_any_function(rights: tuple[str, ...], client: Client) -> None:
    schedule = made(func="tests.sample.tasks.echo", declared="tests.sample.tasks.echo")

    shown = page(person(client, *rights), "schedule_change", schedule.pk)

    assert "tests.sample.tasks.echo" in shown
    assert "every day at" in shown


# ── the list ─────────────────────────────────────────────────────────────────────────────────────


def test_a_schedule_leads_to_its_last_task(admin_client: Client) -> None:
    save(outcome := make_failure())
    made(task=outcome.id)

    text = page(admin_client, "schedule_changelist")

    assert "nightly" in text
    assert reverse("admin:django_cluster_failure_change", args=(outcome.id,)) in text


def test_the_list_says_the_rule_in_words_and_what_is_wrong(admin_client: Client) -> None:
    row = made(schedule_type=Schedule.CRON, cron="30 2 * * 1-5")
    broken = made(name="broken")
    Schedule.objects.filter(pk=broken.pk).update(last_error="no such function", enabled=False)

    text = page(admin_client, "schedule_changelist")

    assert row.describe() in text
    assert "cannot run" in text


def test_the_list_says_how_late_an_overdue_schedule_is(admin_client: Client) -> None:
    made(name="overdue", next_run=timezone.now() - timedelta(minutes=14, seconds=20))
    made(name="off", next_run=timezone.now() - timedelta(hours=5), enabled=False)

    text = page(admin_client, "schedule_changelist")

    assert 'dc-warn">late 14 min<' in text
    assert 'dc-dim">off<' in text
    assert 'dc-good">on<' not in text


def test_the_list_can_be_narrowed_to_a_state(admin_client: Client) -> None:
    made(name="on time")
    made(name="overdue", next_run=timezone.now() - timedelta(minutes=14))
    made(name="ended", repeats=0, next_run=timezone.now() - timedelta(minutes=14))
    made(name="switched off", enabled=False)
    Schedule.objects.filter(pk=made(name="broken").pk).update(last_error="no such function")

    def names(state: str) -> set[str]:
        text = page(admin_client, "schedule_changelist", state=state)
        return {name for name in ("on time", "overdue", "ended", "switched off", "broken") if f">{name}<" in text}

    assert names("on") == {"on time"}
    assert names("late") == {"overdue"}
    assert names("broken") == {"broken"}
    assert names("off") == {"switched off"}
    assert len(names("nonsense")) == 5


# ── the form ─────────────────────────────────────────────────────────────────────────────────────


def test_a_schedule_can_be_made_and_changed(admin_client: Client) -> None:
    assert problems(admin_client, filled()) == {}
    row = Schedule.objects.get()
    url = reverse("admin:django_cluster_schedule_change", args=(row.pk,))
    assert problems(admin_client, filled(name="daily report", schedule_type=Schedule.DAILY), url) == {}

    row.refresh_from_db()
    assert (row.name, row.schedule_type) == ("daily report", Schedule.DAILY)


def test_the_page_of_a_schedule_shows_its_rule_and_its_next_runs(admin_client: Client) -> None:
    row = made()

    text = page(admin_client, "schedule_change", row.pk)

    assert row.describe() in text
    assert text.count("<li>", text.index('id="dc-runs"')) >= 5


@pytest.mark.parametrize(
    ("field", "changes", "words"),
    [
        ("func", {"func": "tests.sample.tasks.nowhere"}, "has no nowhere"),
        ("func", {"func": "no.such.module"}, "there is no module"),
        ("func", {"func": "tests.sample.tasks"}, "is not a function"),
        ("hook", {"hook": "tests.sample.hooks.nowhere"}, "has no nowhere"),
        ("args", {"args": "1"}, "missing a required argument: 'b'"),
        ("args", {"args": "1, 2, 3"}, "too many positional arguments"),
        ("kwargs", {"args": "", "kwargs": "a=1, b=2, c=3"}, "unexpected keyword argument 'c'"),
        ("args", {"intended_date_kwarg": "due"}, "unexpected keyword argument 'due'"),
        ("args", {"args": "open('/etc/passwd')"}, ""),
        ("kwargs", {"kwargs": "q_options={'tiemout': 3}"}, "tiemout"),
        ("kwargs", {"kwargs": "q_options=3"}, "q_options"),
        ("cron", {"schedule_type": Schedule.CRON, "cron": "61 * * * *"}, ""),
        ("minutes", {"schedule_type": Schedule.MINUTES}, ""),
    ],
)
def test_what_could_never_run_is_refused_beside_its_field(
    field: str, changes: dict[str, str], words: str, admin_client: Client
) -> None:
    found = problems(admin_client, filled(**changes))

    assert list(found) == [field]
    assert words in found[field][0]
    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    ("field", "text"), [("args", "complex(1, 2), 3"), ("args", "..., 2"), ("kwargs", "a=[complex(1)], b=3")], ids=str
)
def test_arguments_that_json_cannot_carry_are_refused_beside_their_field(
    field: str, text: str, settings: Any, admin_client: Client
) -> None:
    form = filled(**{"args": "", field: text})
    settings.Q_CLUSTER = {"name": "tests", "serializer": "json"}

    assert list(problems(admin_client, form)) == [field]
    settings.Q_CLUSTER = {"name": "tests"}
    assert problems(admin_client, form) == {}


def test_a_function_without_a_signature_is_taken_as_it_is(admin_client: Client) -> None:
    assert problems(admin_client, filled(func="builtins.min")) == {}


# ── who may schedule what ────────────────────────────────────────────────────────────────────────

EDITOR = ("view_schedule", "add_schedule", "change_schedule")


def test_without_the_permission_only_registered_tasks_are_offered(registered: None, client: Client) -> None:
    person(client, *EDITOR)

    text = page(client, "schedule_add")

    assert '<option value="tests.sample.tasks.add">' in text
    assert "tests.sample.tasks.fail" not in text


def test_a_registered_task_can_be_scheduled_without_the_permission(registered: None, client: Client) -> None:
    assert problems(person(client, *EDITOR), filled(kwargs="q_options={'timeout': 3}")) == {}
    assert Schedule.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("func", {"func": "os.system", "args": "'true'"}),
        ("func", {"func": "tests.sample.tasks.echo"}),
        ("hook", {"hook": "os.system"}),
        ("kwargs", {"kwargs": "q_options={'hook': 'os.system'}"}),
        ("kwargs", {"kwargs": "q_options={'broker': 'other'}"}),
    ],
)
def test_nothing_else_can_be_smuggled_in(field: str, changes: dict[str, str], registered: None, client: Client) -> None:
    found = problems(person(client, *EDITOR), filled(**changes))

    assert field in found
    assert not Schedule.objects.exists()


def test_a_forbidden_function_is_not_even_imported(registered: None, client: Client) -> None:
    problems(person(client, *EDITOR), filled(func="antigravity.geohash", hook="antigravity.geohash"))

    assert "antigravity" not in sys.modules


def test_who_may_schedule_any_function_may(registered: None, client: Client) -> None:
    assert problems(person(client, *EDITOR, "schedule_any_function"), filled(func="tests.sample.tasks.echo")) == {}


def test_who_may_schedule_any_function_is_offered_the_registered_ones(registered: None, admin_client: Client) -> None:
    """By the page itself: no policy of content stops it."""
    shown = page(admin_client, "schedule_add")

    assert '<datalist id="id_func_values"><option value="tests.sample.tasks.add"></option></datalist>' in shown
    assert re.search(r'<input[^>]*name="func"[^>]*list="id_func_values"', shown)
    assert problems(admin_client, filled(func="math.hypot", args="3, 4")) == {}


def test_other_arguments_for_an_unregistered_function_need_the_permission_too(registered: None, client: Client) -> None:
    row = made(func="tests.sample.tasks.echo")
    url = reverse("admin:django_cluster_schedule_change", args=(row.pk,))

    assert person(client, *EDITOR).post(url, filled(func="tests.sample.tasks.add")).status_code == 403


def test_a_declared_schedule_is_changed_in_the_code_only(admin_client: Client) -> None:
    row = made(declared="tests.sample.tasks.add")
    url = reverse("admin:django_cluster_schedule_change", args=(row.pk,))

    assert "in code" in page(admin_client, "schedule_changelist")
    assert 'name="_save"' not in page(admin_client, "schedule_change", row.pk)
    assert admin_client.post(url, filled()).status_code == 403
    assert admin_client.post(reverse("admin:django_cluster_schedule_delete", args=(row.pk,))).status_code == 403
    act(admin_client, "schedule", "delete_selected", row.pk, post="yes")
    assert Schedule.objects.filter(pk=row.pk).exists()


# ── the preview ──────────────────────────────────────────────────────────────────────────────────


def preview(client: Client, **changes: str) -> dict[str, Any]:
    response = client.post(reverse("admin:django_cluster_schedule_preview"), filled(**changes))
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def test_a_form_is_previewed_in_words_and_dates(admin_client: Client) -> None:
    found = preview(admin_client, schedule_type=Schedule.DAILY)

    assert found["problem"] == ""
    assert "12:00" in found["words"]
    assert len(found["runs"]) == 5
    assert not Schedule.objects.exists()


def test_the_first_run_of_a_cron_expression_is_found_by_the_preview(admin_client: Client) -> None:
    found = preview(admin_client, schedule_type=Schedule.CRON, cron="30 2 * * *", next_run_0="", next_run_1="")

    assert len(found["runs"]) == 5
    assert "2:30" in found["runs"][0]


@pytest.mark.parametrize(
    "changes", [{"schedule_type": Schedule.CRON, "cron": "nonsense"}, {"schedule_type": "XX"}, {"repeats": "many"}]
)
def test_a_preview_says_what_is_wrong(changes: dict[str, str], admin_client: Client) -> None:
    found = preview(admin_client, **changes)

    assert found["problem"]
    assert found["runs"] == []


def test_a_preview_is_for_those_who_may_make_schedules(client: Client) -> None:
    url = reverse("admin:django_cluster_schedule_preview")

    assert person(client, "view_schedule").post(url, filled()).status_code == 403
    assert client.get(url).status_code == 403


# ── the acts ─────────────────────────────────────────────────────────────────────────────────────


def test_a_schedule_runs_now_and_is_due_as_before(admin_client: Client) -> None:
    row = made(kwargs="q_options={'timeout': 9}")

    text = act(admin_client, "schedule", "run_now", row.pk)

    package = get_client().codec.loads(QueuedTask.objects.get().payload)
    after = Schedule.objects.get()
    assert "1 task was sent." in text
    assert (package.header.func, package.args) == ("tests.sample.tasks.add", (1, 2))
    assert (package.header.options.group, package.header.options.timeout) == ("nightly", 9)
    assert fields(after, "next_run", "repeats", "task") == {
        "next_run": row.next_run,
        "repeats": row.repeats,
        "task": package.id,
    }
    assert LogEntry.objects.get().change_message == "Run now."


def test_a_schedule_whose_runs_must_not_overlap_is_not_run_twice(admin_client: Client) -> None:
    row = made(no_overlap=True, busy_since=timezone.now())

    assert "Its last run is unfinished" in act(admin_client, "schedule", "run_now", row.pk)
    assert not QueuedTask.objects.exists()


def test_a_broken_schedule_keeps_no_other_from_running_now(admin_client: Client) -> None:
    broken, sound = made(name="broken", args="open("), made(name="sound")

    text = act(admin_client, "schedule", "run_now", broken.pk, sound.pk)

    assert "The arguments 'open(' cannot be read" in text
    assert QueuedTask.objects.count() == 1


def test_schedules_are_switched_off_and_on_declared_ones_too(admin_client: Client) -> None:
    row, other = made(declared="tests.sample.tasks.add"), made(name="other")

    assert "1 schedule is disabled." in act(admin_client, "schedule", "disable", row.pk)
    assert list(Schedule.objects.filter(enabled=True)) == [other]
    assert "1 schedule is enabled." in act(admin_client, "schedule", "enable", row.pk, other.pk)
    assert not Schedule.objects.filter(enabled=False).exists()


@pytest.mark.parametrize(
    ("action", "permission"),
    [("run_now", "run_schedule"), ("enable", "enable_schedule"), ("disable", "enable_schedule")],
)
def test_each_act_has_a_permission_of_its_own(action: str, permission: str, client: Client) -> None:
    row = made()
    person(client, "view_schedule", "change_schedule")
    assert f'value="{action}"' not in page(client, "schedule_changelist")
    act(client, "schedule", action, row.pk)
    assert not QueuedTask.objects.exists()
    assert Schedule.objects.get().enabled

    User.objects.all().delete()
    person(client, "view_schedule", permission)
    assert f'value="{action}"' in page(client, "schedule_changelist")


# ── moments at the ends of the calendar ──────────────────────────────────────────────────────────

ENDS = [
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(9999, 12, 31, 11, 0, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1, 1, 1, 12, 30, tzinfo=UTC),
]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("reader", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_a_moment_at_the_end_of_the_calendar_breaks_no_page(reader: str, admin_client: Client) -> None:
    zones = ["Pacific/Kiritimati", "Etc/GMT+12", "Europe/Berlin", ""]
    kinds = [code for code, _ in Schedule.TYPE]
    rows = [
        Schedule(name="n", func="tests.sample.tasks.add", schedule_type=kind, minutes=7, cron="0 3 * * *")
        for kind in kinds
        for _ in zones
        for _ in ENDS
    ]
    for row, (_, zone, moment) in zip(rows, product(kinds, zones, ENDS), strict=True):
        row.time_zone, row.next_run, row.anchor = zone, moment, moment
        row.starts_at = moment if moment.year > 1 else None
    Schedule.objects.bulk_create(rows)
    several = [row for row in Schedule.objects.all() if row.schedule_type in (Schedule.ONCE, Schedule.DAILY)]

    with timezone.override(reader):
        listed = admin_client.get(reverse("admin:django_cluster_schedule_changelist"), {"all": ""})
        pages = [admin_client.get(reverse("admin:django_cluster_schedule_change", args=[row.pk])) for row in several]

    assert {response.status_code for response in (listed, *pages)} == {200}
    if settings.USE_TZ:  # on one naive clock every moment can be shown
        assert "This value cannot be shown: 9999-12-31 23:59+00:00 (Pacific/Kiritimati)" in listed.content.decode()


@pytest.mark.usefixtures("registered")
def test_who_may_only_look_sees_a_moment_at_the_end_of_the_calendar(client: Client) -> None:
    row = made(next_run=ENDS[0], schedule_type=Schedule.ONCE, time_zone="Pacific/Kiritimati")

    with timezone.override("Pacific/Kiritimati"):
        text = page(person(client, "view_schedule"), "schedule_change", row.pk)

    assert "9999" in text


@pytest.mark.parametrize("kind", [code for code, _ in Schedule.TYPE])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", ""])
def test_the_scheduler_does_not_die_of_the_first_or_last_day_of_the_calendar(kind: str, zone: str) -> None:
    sent: list[Any] = []
    look = ScheduleDispatcher(
        ScheduleSettings(), queue="default", is_default=True, send=sent.extend, broker_database=None
    )
    rows = [
        Schedule(name="n", func="a.b", schedule_type=kind, minutes=7, cron="0 3 * * *", next_run=moment, anchor=moment)
        for moment in ENDS
    ]
    for row in rows:
        row.time_zone = zone
    Schedule.objects.bulk_create(rows)
    ordinary = made(next_run=timezone.now() - timedelta(seconds=5))

    look.fire_due(timezone.now())

    assert ordinary.name in [package.header.options.group for package in sent]
    for row in Schedule.objects.all():
        row.upcoming()
        row.describe()


# ── forms and instances that are older than what the scheduler has written ───────────────────────


def fire(row: Schedule) -> None:
    """As a scheduler does it, which knows nothing of this instance."""
    look = ScheduleDispatcher(ScheduleSettings(), queue="default", is_default=True, send=lambda packages: None)
    assert look.fire_due(timezone.now()).fired == 1


def posted(client: Client, row: Schedule, **changes: str) -> dict[str, str]:
    """The form of this row as a browser would send it now, with these fields changed."""
    response = client.get(reverse(CHANGE, args=[row.pk]))
    found: dict[str, str] = {}
    for bound in response.context["adminform"].form:
        for tag in re.findall(r"<(?:input|textarea)[^>]*>", str(bound)):
            name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
            if name and ('type="checkbox"' not in tag or "checked" in tag):
                found[name[1]] = html.unescape(value[1]) if value else ""
    return found | {"args": row.args or "", "schedule_type": row.schedule_type, **changes}


CHANGE = "admin:django_cluster_schedule_change"


@pytest.mark.usefixtures("registered")
def test_a_form_that_is_older_than_the_last_firing_does_not_take_it_back(admin_client: Client) -> None:
    row = made(next_run=timezone.now() - timedelta(seconds=30), repeats=5)
    form = posted(admin_client, row, name="another name")
    fire(row)
    fired = Schedule.objects.get()

    assert problems(admin_client, form, reverse(CHANGE, args=[row.pk])) == {}

    saved = Schedule.objects.get()
    assert saved.name == "another name"
    assert (fired.repeats, fired.runs) == (4, 1)
    for name in WRITTEN_BY_SCHEDULERS:
        assert getattr(saved, name) == getattr(fired, name), name


@pytest.mark.usefixtures("registered")
def test_what_a_person_has_changed_in_such_a_form_is_saved(admin_client: Client) -> None:
    row = made(next_run=timezone.now() - timedelta(seconds=30), repeats=5)
    form = posted(admin_client, row, repeats="9", next_run_0="2040-01-02", next_run_1="03:04:05")
    fire(row)

    assert problems(admin_client, form, reverse(CHANGE, args=[row.pk])) == {}

    saved = Schedule.objects.get()
    assert (saved.repeats, saved.runs) == (9, 1)
    assert saved.next_run is not None
    local = timezone.localtime(saved.next_run) if timezone.is_aware(saved.next_run) else saved.next_run
    assert local.strftime("%Y-%m-%d %H:%M:%S") == "2040-01-02 03:04:05"


@pytest.mark.parametrize("change", [{"name": "new"}, {"enabled": False}, {"args": "3, 4"}, {}])
def test_an_instance_that_is_older_than_the_last_firing_does_not_take_it_back(change: dict[str, Any]) -> None:
    made(next_run=timezone.now() - timedelta(seconds=30), repeats=5)
    stale = Schedule.objects.get()
    fire(stale)
    fired = Schedule.objects.get()
    for name, value in change.items():
        setattr(stale, name, value)

    stale.save()

    saved = Schedule.objects.get()
    assert {name: getattr(saved, name) for name in change} == change
    for name in WRITTEN_BY_SCHEDULERS:
        assert getattr(saved, name) == getattr(fired, name), name


def test_an_instance_that_was_changed_writes_what_was_changed() -> None:
    made(next_run=timezone.now() - timedelta(seconds=30), repeats=5)
    stale = Schedule.objects.get()
    fire(stale)
    later = timezone.now() + timedelta(days=9)
    stale.next_run, stale.repeats = later, 7

    stale.save()

    saved = Schedule.objects.get()
    assert fields(saved, "next_run", "repeats", "runs") == {"next_run": later, "repeats": 7, "runs": 1}


def test_saving_a_row_that_is_gone_makes_it_again_and_a_copy_is_a_whole_row() -> None:
    row = Schedule.objects.get(pk=made(repeats=5).pk)
    copy = Schedule.objects.get(pk=row.pk)
    Schedule.objects.all().delete()

    row.save()
    copy.pk = None
    copy.save()

    assert [each.repeats for each in Schedule.objects.all()] == [5, 5]
