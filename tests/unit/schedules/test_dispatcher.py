"""Standing orders: kept faithfully, fired once, and never in each other's way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from django_cluster.core.due import CatchUp
from django_cluster.core.messages import NO_TIMEOUT, TaskPackage
from django_cluster.core.settings import ScheduleSettings
from django_cluster.errors import BrokerUnavailable, NotSerializable, UnknownFunction
from django_cluster.models.schedule import Schedule
from django_cluster.schedules import dispatcher as dispatcher_module
from django_cluster.schedules.creation import build_schedule
from django_cluster.schedules.dispatcher import CLAIM_DURATION, SUSPENSION, ScheduleDispatcher
from django_cluster.schedules.planning import plan_run
from tests.datetimes import AMSTERDAM, here, needs_time_zones, utc
from tests.fields import fields
from tests.sample import tasks

pytestmark = pytest.mark.django_db

NOW = utc(2026, 11, 20, 12, 0, 30)
HOUR = timedelta(hours=1)


class Outbox:
    """Takes packages; refuses those of some functions, or everything while it is closed."""

    def __init__(self) -> None:
        self.packages: list[TaskPackage] = []
        self.refused: str = ""
        self.closed: BaseException | None = None

    def __call__(self, packages: Sequence[TaskPackage]) -> None:
        if self.closed:
            raise self.closed
        if any(package.header.func == self.refused for package in packages):
            raise NotSerializable("This one cannot be carried.")
        self.packages.extend(packages)


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture(params=["default", None], ids=["broker in the same database", "broker elsewhere"])
def dispatcher(outbox: Outbox, request: pytest.FixtureRequest) -> ScheduleDispatcher:
    return make_dispatcher(outbox, broker_database=request.param)


def make_dispatcher(
    outbox: Outbox, *, queue: str = "tests", is_default: bool = True, **more: Any
) -> ScheduleDispatcher:
    database = more.pop("broker_database", None)
    section = ScheduleSettings(time_zone="Europe/Amsterdam", **more)
    return ScheduleDispatcher(section, queue=queue, is_default=is_default, send=outbox, broker_database=database)


def make_schedule(func: Any = tasks.echo, *args: Any, next_run: datetime = NOW, **more: Any) -> Schedule:
    return build_schedule(func, *args, next_run=next_run, **more)


# ── run ───────────────────────────────────────────────────────────────────────────────────────


def test_a_due_schedule_becomes_a_package(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    row = make_schedule(
        tasks.echo, 1, 2, name="sums", hook="tests.sample.hooks.note", schedule_type="H", x=date(2026, 1, 2)
    )

    done = dispatcher.fire_due(NOW)

    [package] = outbox.packages
    row.refresh_from_db()
    assert done.fired == 1
    assert (package.header.func, package.args, dict(package.kwargs)) == (
        *("tests.sample.tasks.echo", (1, 2), {"x": date(2026, 1, 2)}),
    )
    assert package.header.options.group == "sums"
    assert package.header.options.hook == "tests.sample.hooks.note"
    assert package.header.enqueued_at == NOW.timestamp()
    assert fields(row, "task", "next_run", "repeats") == {"task": package.id, "next_run": NOW + HOUR, "repeats": -1}


def test_what_is_not_due_disabled_finished_or_of_another_queue_is_left_alone(
    dispatcher: ScheduleDispatcher, outbox: Outbox
) -> None:
    make_schedule(next_run=NOW + timedelta(seconds=1))
    make_schedule(repeats=0)
    make_schedule(queue="another")
    Schedule.objects.filter(pk=make_schedule().pk).update(enabled=False)
    Schedule.objects.filter(pk=make_schedule().pk).update(next_run=None)

    assert dispatcher.fire_due(NOW).fired == 0
    assert outbox.packages == []


def test_schedules_without_a_cluster_belong_to_the_queue_of_the_site(outbox: Outbox) -> None:
    make_schedule(name="nobody's")
    make_schedule(name="theirs", queue="other")

    make_dispatcher(outbox, queue="other", is_default=False).fire_due(NOW)
    theirs = [package.header.options.group for package in outbox.packages]
    make_dispatcher(outbox).fire_due(NOW)

    assert theirs == ["theirs"]
    assert [package.header.options.group for package in outbox.packages] == ["theirs", "nobody's"]
    assert [package.header.options.queue for package in outbox.packages] == ["other", None]


def test_once_is_deleted_after_its_run(dispatcher: ScheduleDispatcher) -> None:
    make_schedule()

    dispatcher.fire_due(NOW)

    assert not Schedule.objects.exists()


def test_once_with_a_count_stays_and_is_finished(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    row = make_schedule(repeats=3)

    dispatcher.fire_due(NOW)
    dispatcher.fire_due(NOW)

    row.refresh_from_db()
    assert row.repeats == 0
    assert row.task == outbox.packages[0].id
    assert len(outbox.packages) == 1


def test_a_count_is_used_up_run_by_run(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    row = make_schedule(schedule_type="H", repeats=2)

    for hours in range(4):
        dispatcher.fire_due(NOW + hours * HOUR)

    row.refresh_from_db()
    assert row.repeats == 0
    assert len(outbox.packages) == 2


def test_catching_up_fires_one_missed_run_at_a_look(outbox: Outbox) -> None:
    make_schedule(schedule_type="H", next_run=NOW - 3 * HOUR, intended_date_kwarg="when")
    dispatcher = make_dispatcher(outbox)

    fired = [dispatcher.fire_due(NOW).fired for _ in range(6)]

    assert fired == [1, 1, 1, 1, 0, 0]
    assert [package.kwargs["when"] for package in outbox.packages] == [
        (NOW - hours * HOUR).isoformat() for hours in (3, 2, 1, 0)
    ]
    assert len({package.id for package in outbox.packages}) == 4


def test_without_catching_up_all_missed_runs_are_one(outbox: Outbox) -> None:
    row = make_schedule(schedule_type="I", minutes=1, next_run=utc(1990, 1, 1))
    dispatcher = make_dispatcher(outbox, catch_up=CatchUp.ONCE)

    dispatcher.fire_due(NOW)
    dispatcher.fire_due(NOW)

    row.refresh_from_db()
    assert row.next_run == utc(2026, 11, 20, 12, 1)
    assert len(outbox.packages) == 1


def test_a_monthly_run_on_the_31st_returns_to_the_31st(dispatcher: ScheduleDispatcher) -> None:
    row = make_schedule(schedule_type="M", next_run=here(2026, 1, 31, 8))
    days = []

    for _ in range(4):
        row.refresh_from_db()
        assert row.next_run is not None
        days.append(row.next_run.astimezone(AMSTERDAM).strftime("%m-%d %H:%M"))
        dispatcher.fire_due(row.next_run)

    assert days == ["01-31 08:00", "02-28 08:00", "03-31 08:00", "04-30 08:00"]


@needs_time_zones
def test_a_daily_run_of_half_past_two_survives_the_spring(dispatcher: ScheduleDispatcher) -> None:
    row = make_schedule(schedule_type="D", next_run=here(2026, 3, 28, 2, 30))
    times = []

    for _ in range(3):
        row.refresh_from_db()
        assert row.next_run is not None
        times.append(row.next_run.astimezone(AMSTERDAM).strftime("%d %H:%M"))
        dispatcher.fire_due(row.next_run)

    assert times == ["28 02:30", "29 03:00", "30 02:30"]


def test_a_clock_set_back_fires_nothing_twice(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    make_schedule(schedule_type="H")

    dispatcher.fire_due(NOW)
    dispatcher.fire_due(NOW - 2 * HOUR)

    assert len(outbox.packages) == 1


def test_a_hold_from_before_the_clock_was_set_back_holds_nobody_up(
    dispatcher: ScheduleDispatcher, outbox: Outbox
) -> None:
    row = make_schedule(schedule_type="H")
    Schedule.objects.filter(pk=row.pk).update(claimed_until=NOW + HOUR)

    dispatcher.fire_due(NOW)

    assert len(outbox.packages) == 1


def test_options_travel_in_q_options(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    make_schedule(
        tasks.echo, q_options={"timeout": -1, "group": "own", "task_name": "mine", "broker_name": "far", "save": False}
    )

    dispatcher.fire_due(NOW)

    [package] = outbox.packages
    options = package.header.options
    assert fields(options, "timeout", "group", "queue", "save") == {
        "timeout": NO_TIMEOUT,
        "group": "own",
        "queue": "far",
        "save": False,
    }
    assert package.header.name == "mine"
    assert dict(package.kwargs) == {}


def test_keywords_named_as_options_are_the_functions_own(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    make_schedule(tasks.echo, group="a group of people", timeout=7)

    dispatcher.fire_due(NOW)

    assert dict(outbox.packages[0].kwargs) == {"group": "a group of people", "timeout": 7}


# ── claims ───────────────────────────────────────────────────────────────────────────────────────


def test_a_row_that_another_cluster_has_fired_is_not_fired_again(
    dispatcher: ScheduleDispatcher, outbox: Outbox
) -> None:
    seen = make_schedule(schedule_type="H")
    mine = plan_run(seen, NOW, AMSTERDAM, catch_up=CatchUp.ALL)
    dispatcher.fire_due(NOW)

    assert dispatcher._fire([mine], NOW, exact=dispatcher._exact) == 0
    assert len(outbox.packages) == 1


def test_a_broker_that_is_away_costs_no_run(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    row = make_schedule(schedule_type="H")
    outbox.closed = BrokerUnavailable("away")

    with pytest.raises(BrokerUnavailable):
        dispatcher.fire_due(NOW)
    outbox.closed = None
    dispatcher.fire_due(NOW)

    row.refresh_from_db()
    assert row.next_run == NOW + HOUR
    assert len(outbox.packages) == 1


def test_a_scheduler_that_dies_while_it_sends_is_followed_by_another_with_the_same_id(outbox: Outbox) -> None:
    row = make_schedule(schedule_type="H")
    task_id = plan_run(row, NOW, AMSTERDAM, catch_up=CatchUp.ALL).task_id
    outbox.closed = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        make_dispatcher(outbox).fire_due(NOW)
    outbox.closed = None

    meanwhile = make_dispatcher(outbox).fire_due(NOW + CLAIM_DURATION / 2)
    afterwards = make_dispatcher(outbox).fire_due(NOW + CLAIM_DURATION)

    assert (meanwhile.fired, afterwards.fired) == (0, 1)
    assert [package.id for package in outbox.packages] == [task_id]
    assert Schedule.objects.get().next_run == NOW + HOUR


def test_a_task_has_the_same_id_whichever_cluster_sends_it() -> None:
    row = make_schedule(schedule_type="H")

    ids = {plan_run(row, NOW + each * HOUR, UTC, catch_up=CatchUp.ALL).task_id for each in range(3)}

    assert len(ids) == 1


def test_a_run_that_is_asked_for_again_at_the_same_time_is_a_new_task(
    dispatcher: ScheduleDispatcher, outbox: Outbox
) -> None:
    row = make_schedule(schedule_type="H")
    dispatcher.fire_due(NOW)
    Schedule.objects.filter(pk=row.pk).update(next_run=NOW)

    dispatcher.fire_due(NOW)

    assert len({package.id for package in outbox.packages}) == 2


def test_more_than_a_batch_is_said(monkeypatch: pytest.MonkeyPatch, outbox: Outbox) -> None:
    monkeypatch.setattr(dispatcher_module, "BATCH_ROWS", 2)
    for _ in range(3):
        make_schedule()
    dispatcher = make_dispatcher(outbox)

    looks = [dispatcher.fire_due(NOW) for _ in range(2)]

    assert [(each.fired, each.more) for each in looks] == [(2, True), (1, False)]


def test_the_next_due_time_is_said_when_it_is_soon(dispatcher: ScheduleDispatcher) -> None:
    make_schedule()
    make_schedule(next_run=NOW + timedelta(milliseconds=400))
    make_schedule(next_run=NOW + timedelta(seconds=5))

    assert dispatcher.fire_due(NOW).next_due == NOW + timedelta(milliseconds=400)
    assert dispatcher.fire_due(NOW + timedelta(milliseconds=400)).next_due is None


# ── broken rows ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"args": "open('x')"}, "is not one of the known calls"),
        ({"kwargs": "x=1, x=2"}, "name an argument twice"),
        ({"kwargs": "q_options=3"}, "q_options is not a dict"),
        ({"kwargs": "q_options={'colour': 1}"}, "colour"),
        ({"kwargs": "q_options={'sync': True}"}, "means nothing here"),
        ({"schedule_type": "Z"}, "is not a schedule type"),
        ({"schedule_type": "I", "minutes": None}, "needs a number of minutes"),
        ({"schedule_type": "C", "cron": "0 0 31 2 *"}, "is not valid"),
        ({"func": "not a path"}, "is not a dotted path"),
    ],
)
def test_a_broken_row_touches_no_other_and_says_why(
    changes: dict[str, Any],
    words: str,
    dispatcher: ScheduleDispatcher,
    outbox: Outbox,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = make_schedule(next_run=NOW - HOUR)
    Schedule.objects.filter(pk=broken.pk).update(**changes)
    make_schedule(name="sound")

    with caplog.at_level(logging.ERROR, "django_cluster"):
        for seconds in range(0, 200, 49):
            dispatcher.fire_due(NOW + timedelta(seconds=seconds))

    broken.refresh_from_db()
    assert [package.header.options.group for package in outbox.packages] == ["sound"]
    assert words in broken.last_error
    assert broken.claimed_until is not None
    assert broken.claimed_until > NOW + SUSPENSION
    assert len(caplog.records) == 1


def test_a_row_that_cannot_be_sent_is_parked_and_the_others_are_sent(
    dispatcher: ScheduleDispatcher, outbox: Outbox
) -> None:
    outbox.refused = "tests.sample.tasks.fail"
    for number in range(3):
        make_schedule(name=f"sound {number}")
    refused = make_schedule(tasks.fail)

    fired = dispatcher.fire_due(NOW).fired

    refused.refresh_from_db()
    assert fired == 3
    assert sorted(str(package.header.options.group) for package in outbox.packages) == ["sound 0", "sound 1", "sound 2"]
    assert refused.last_error == "This one cannot be carried."
    assert refused.next_run == NOW


def test_a_repaired_row_runs_at_once(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    row = make_schedule(schedule_type="H")
    Schedule.objects.update(args="(")
    dispatcher.fire_due(NOW)
    row.refresh_from_db()
    assert row.last_error

    row.args = "1, 2"
    row.save()
    dispatcher.fire_due(NOW + timedelta(seconds=1))

    row.refresh_from_db()
    assert len(outbox.packages) == 1
    assert (row.last_error, row.claimed_until) == ("", None)


# ── keeping them ─────────────────────────────────────────────────────────────────────────────────


def test_a_used_name_is_refused() -> None:
    make_schedule(name="taken")

    with pytest.raises(IntegrityError, match="'taken'"):
        make_schedule(name="taken")


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"schedule_type": "C"}, "needs an expression"),
        ({"schedule_type": "C", "cron": "* * * * * *"}, "five are needed"),
        ({"schedule_type": "I"}, "needs a number of minutes"),
        ({"schedule_type": "Z"}, "not a valid choice"),
        ({"intended_date_kwarg": "a b"}, "cannot be the name of an argument"),
    ],
)
def test_what_could_never_be_fired_is_not_saved(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        build_schedule(tasks.echo, **keywords)

    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    ("field", "text"), [("args", "1 +"), ("kwargs", "1"), ("func", "no path"), ("hook", "no path")]
)
def test_a_form_shows_the_error_at_its_field(field: str, text: str) -> None:
    row = Schedule(**{"func": "a.b", field: text})

    with pytest.raises(ValidationError) as caught:
        row.full_clean()

    assert list(caught.value.message_dict) == [field]


def test_arguments_that_cannot_be_kept_are_refused_and_not_dropped() -> None:
    with pytest.raises(NotSerializable):
        build_schedule(tasks.echo, object())
    with pytest.raises(NotSerializable):
        build_schedule(tasks.echo, x=print)
    with pytest.raises(UnknownFunction):
        build_schedule(lambda: None)
    with pytest.raises(TypeError, match="colour"):
        build_schedule(tasks.echo, q_options={"colour": 1})
    with pytest.raises(TypeError, match=r"'catchup' is not an option \(did you mean 'catch_up'\?\)"):
        build_schedule(tasks.echo, q_options={"catchup": "all"})

    assert not Schedule.objects.exists()


def test_a_schedule_without_a_date_is_due_now() -> None:
    before = timezone.now()

    row = build_schedule(tasks.echo)

    assert row.next_run is not None
    assert before <= row.next_run <= timezone.now()
    assert row.anchor == row.next_run


def test_schedules_that_are_made_in_bulk_are_due_as_well() -> None:
    Schedule.objects.bulk_create(
        [
            Schedule(func="a.b", schedule_type="D"),
            Schedule(func="a.b", schedule_type="C", cron="30 2 * * *"),
        ]
    )

    daily, cron = Schedule.objects.order_by("pk")
    assert daily.next_run is not None
    assert cron.next_run is not None
    assert abs(daily.next_run - timezone.now()) < timedelta(seconds=10)
    assert daily.anchor == daily.next_run
    assert (cron.next_run.minute, cron.next_run > timezone.now()) == (30, True)


def test_a_new_cron_schedule_starts_with_its_expression() -> None:
    rows = [
        build_schedule(tasks.echo, schedule_type="C", cron="30 2 1 1 *"),
        Schedule.objects.create(func="a.b", schedule_type="C", cron="30 2 1 1 *"),
    ]

    for row in rows:
        assert row.next_run is not None
        assert row.next_run.astimezone(AMSTERDAM).strftime("%m-%d %H:%M") == "01-01 02:30"


@needs_time_zones
def test_a_new_cron_schedule_is_reckoned_in_the_zone_of_the_cluster() -> None:
    tokyo = ZoneInfo("Asia/Tokyo")

    row = build_schedule(tasks.echo, schedule_type="C", cron="30 2 1 1 *", q_zone=tokyo)

    assert row.next_run is not None
    assert row.next_run.astimezone(tokyo).strftime("%m-%d %H:%M") == "01-01 02:30"


def test_the_first_run_of_a_cron_schedule_may_be_chosen() -> None:
    assert make_schedule(schedule_type="C", cron="30 2 1 1 *").next_run == NOW


def test_another_expression_gives_another_next_run() -> None:
    pk = build_schedule(tasks.echo, schedule_type="C", cron="30 2 1 1 *").pk
    row = Schedule.objects.get(pk=pk)

    row.cron = "45 3 1 1 *"
    row.save()

    row.refresh_from_db()
    assert row.next_run is not None
    assert row.next_run.astimezone(AMSTERDAM).strftime("%m-%d %H:%M") == "01-01 03:45"


def test_saving_another_field_keeps_the_31st() -> None:
    row = make_schedule(schedule_type="M", next_run=here(2026, 1, 31, 8))

    row.next_run = row.calculate_next_run()
    row.name = "renamed"
    row.save()

    assert row.next_run == here(2026, 2, 28, 8)
    assert row.calculate_next_run() == here(2026, 3, 31, 8)


def test_moving_the_next_run_moves_all_that_follow() -> None:
    row = make_schedule(schedule_type="M", next_run=here(2026, 1, 31, 8))

    row.next_run = here(2026, 2, 15, 9)
    row.save()

    assert row.calculate_next_run() == here(2026, 3, 15, 9)
    assert row.calculate_next_run(here(2026, 5, 3)) == here(2026, 6, 3)


def test_an_incomplete_row_can_be_saved_and_switched_off() -> None:
    row = Schedule.objects.create(func="a.b", schedule_type="I", next_run=NOW)

    row.enabled = False
    row.save()

    assert not Schedule.objects.get().enabled


def test_without_a_task_nothing_has_succeeded() -> None:
    assert make_schedule().success() is None


# ── many missed runs ─────────────────────────────────────────────────────────────────────────────


def test_no_more_missed_runs_are_made_up_for_than_is_wanted_and_what_is_left_out_is_said_once(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    row = make_schedule(name="often", schedule_type="H", next_run=NOW - 50 * HOUR, intended_date_kwarg="when")
    dispatcher = make_dispatcher(outbox, max_catch_up=2)
    outbox.closed = BrokerUnavailable("away")

    with caplog.at_level(logging.WARNING, "django_cluster"):
        with pytest.raises(BrokerUnavailable):
            dispatcher.fire_due(NOW)
        outbox.closed = None
        for _ in range(5):
            dispatcher.fire_due(NOW)

    assert [package.kwargs["when"] for package in outbox.packages] == [
        (NOW - hours * HOUR).isoformat() for hours in (2, 1, 0)
    ]
    [record] = caplog.records
    assert record.getMessage() == (
        f"Schedule 'often' ({row.pk}) skipped its runs from {NOW - 50 * HOUR} to before {NOW - 2 * HOUR}: "
        "more than max_catch_up"
    )
    assert record.__dict__["event"] == "missed_runs_skipped"


def test_a_run_that_was_held_before_is_not_skipped(outbox: Outbox) -> None:
    make_schedule(schedule_type="H", next_run=NOW - 50 * HOUR)
    task_id = plan_run(Schedule.objects.get(), NOW, AMSTERDAM, catch_up=CatchUp.ALL).task_id
    Schedule.objects.update(task=task_id)

    make_dispatcher(outbox, max_catch_up=2).fire_due(NOW)

    assert [package.id for package in outbox.packages] == [task_id]


# ── functions and moments that are given ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path", ["tests.sample.tasks.nope", "tests.sample.nope.add", "tests.sample.tasks.BASE_EXCEPTIONS"]
)
def test_a_function_that_its_module_does_not_have_is_refused(path: str) -> None:
    with pytest.raises(UnknownFunction, match=path):
        build_schedule(path)
    with pytest.raises(UnknownFunction, match=path):
        build_schedule(tasks.echo, hook=path)

    assert not Schedule.objects.exists()


def test_a_function_of_another_program_is_taken_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "needs_a_library.py").write_text("import a_library_that_is_only_there\n")
    monkeypatch.syspath_prepend(tmp_path)

    with caplog.at_level(logging.WARNING, "django_cluster"):
        build_schedule("only_there.tasks.render")
        build_schedule("needs_a_library.render")

    assert [record.__dict__["event"] for record in caplog.records] == ["unknown_function"] * 2
    assert "there is no module only_there" in caplog.messages[0]
    assert "a_library_that_is_only_there" in caplog.messages[1]
    assert Schedule.objects.count() == 2


def test_a_module_may_schedule_what_it_is_going_to_define(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "from django_cluster.schedules.creation import build_schedule\nbuild_schedule('early.later')\n"
    (tmp_path / "early.py").write_text(f"{module}\ndef later():\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)

    import_module("early")

    assert Schedule.objects.get().func == "early.later"


@needs_time_zones
def test_a_naive_moment_is_a_time_in_the_current_zone_as_in_a_form() -> None:
    with timezone.override("Asia/Tokyo"), pytest.warns(RuntimeWarning, match="received a naive datetime"):
        row = build_schedule(tasks.echo, next_run=datetime(2030, 7, 1, 9))  # noqa: DTZ001

    assert row.next_run == utc(2030, 7, 1, 0)


@needs_time_zones
@pytest.mark.parametrize("when", [datetime(2030, 3, 31, 2, 30), datetime(2030, 10, 27, 2, 30)])  # noqa: DTZ001
def test_a_naive_moment_that_the_clock_shows_never_or_twice_is_refused(when: datetime) -> None:
    with pytest.raises(ValidationError, match="give a datetime with a time zone"):
        build_schedule(tasks.echo, next_run=when)
