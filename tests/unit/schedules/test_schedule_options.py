"""What a schedule may choose for itself: missed runs, a zone, a start, an end, no overlap, the options of its tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.test import override_settings
from django.utils import timezone

from django_cluster.core.due import CatchUp
from django_cluster.core.messages import Outcome, TaskPackage
from django_cluster.core.settings import ResultSettings, ScheduleSettings
from django_cluster.errors import BrokerUnavailable, NotSerializable
from django_cluster.models.schedule import Schedule
from django_cluster.schedules.creation import build_schedule
from django_cluster.schedules.dispatcher import CLAIM_DURATION, ScheduleDispatcher
from django_cluster.schedules.planning import RUN_LOST_AFTER
from django_cluster.stores import open_results
from django_cluster.testing.outcomes import make_outcome
from tests.datetimes import kept, needs_time_zones, utc
from tests.sample import tasks

pytestmark = pytest.mark.django_db

NOW = utc(2026, 11, 20, 12, 0, 30)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KATHMANDU = ZoneInfo("Asia/Kathmandu")


class Outbox(list[TaskPackage]):
    """Takes packages, unless it is told to break down before or after."""

    error: BaseException | None = None
    too_late = False

    def __call__(self, packages: Sequence[TaskPackage]) -> None:
        if self.error is not None and not self.too_late:
            raise self.error
        self.extend(packages)
        if self.error is not None:
            raise self.error


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture(params=["default", None], ids=["broker in the same database", "broker elsewhere"])
def dispatcher(outbox: Outbox, request: pytest.FixtureRequest) -> ScheduleDispatcher:
    return make_dispatcher(outbox, broker_database=request.param)


def make_dispatcher(outbox: Outbox, broker_database: str | None = None, **section: Any) -> ScheduleDispatcher:
    settings = ScheduleSettings(**{"time_zone": "Europe/Amsterdam", **section})
    return ScheduleDispatcher(settings, queue="tests", is_default=True, send=outbox, broker_database=broker_database)


def make_schedule(func: Any = tasks.echo, *args: Any, q_options: Any = None, **columns: Any) -> Schedule:
    keywords = {"schedule_type": "H", "next_run": NOW, "q_options": q_options, **columns}
    return build_schedule(func, *args, **keywords)


def end(package: TaskPackage, **changes: Any) -> None:
    """Record that the run of a package has ended."""
    options = package.header.options.to_wire()
    outcome: Outcome = make_outcome(id=package.id, options=options, **changes)
    open_results(ResultSettings(save_limit=-1)).save([outcome])


# ── missed runs ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("wish", "count"), [("all", 4), ("once", 1), ("skip", 0)])
@pytest.mark.parametrize("setting", list(CatchUp))
def test_a_schedule_chooses_what_becomes_of_missed_runs(
    wish: str, count: int, setting: CatchUp, outbox: Outbox
) -> None:
    make_schedule(next_run=NOW - 3 * HOUR - timedelta(minutes=5), q_options={"catch_up": wish})
    dispatcher = make_dispatcher(outbox, catch_up=setting)

    for _ in range(6):
        dispatcher.fire_due(NOW)

    assert len(outbox) == count
    assert Schedule.objects.get().next_run == NOW + timedelta(minutes=55)


@pytest.mark.parametrize(("setting", "count"), [(CatchUp.ALL, 4), (CatchUp.ONCE, 1), (CatchUp.SKIP, 0)])
def test_a_schedule_without_a_choice_does_as_the_settings_say(setting: CatchUp, count: int, outbox: Outbox) -> None:
    make_schedule(next_run=NOW - 3 * HOUR - timedelta(minutes=5))
    dispatcher = make_dispatcher(outbox, catch_up=setting)

    for _ in range(6):
        dispatcher.fire_due(NOW)

    assert len(outbox) == count


def test_a_run_that_is_left_out_uses_up_no_count(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    row = make_schedule(next_run=NOW - 3 * HOUR, repeats=2, q_options={"catch_up": "skip"})

    for hours in range(4):
        dispatcher.fire_due(NOW + hours * HOUR)

    row.refresh_from_db()
    assert (len(outbox), row.repeats, row.runs) == (2, 0, 2)


def test_missed_cron_runs_are_made_up_for(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    make_schedule(schedule_type="C", cron="0 * * * *", next_run=utc(2026, 11, 20, 9))

    for _ in range(6):
        dispatcher.fire_due(NOW)

    assert len(outbox) == 4


# ── zones ────────────────────────────────────────────────────────────────────────────────────────


@needs_time_zones
def test_a_schedule_follows_the_clock_of_its_own_zone(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    due = kept(datetime(2026, 3, 28, 2, 30, tzinfo=ZoneInfo("America/New_York")))
    abroad = make_schedule(schedule_type="D", next_run=due, q_options={"time_zone": "America/New_York"})
    at_home = make_schedule(schedule_type="D", next_run=due)

    dispatcher.fire_due(due)

    abroad.refresh_from_db()
    at_home.refresh_from_db()
    assert abroad.next_run == due + DAY
    assert at_home.next_run == due + timedelta(hours=23)  # Amsterdam's clock is set forward in between


@needs_time_zones
def test_a_cron_expression_is_reckoned_in_the_zone_of_its_schedule() -> None:
    row = build_schedule(tasks.echo, schedule_type="C", cron="45 0 * * *", q_options={"time_zone": "Asia/Kathmandu"})

    assert row.next_run is not None
    assert row.next_run.astimezone(KATHMANDU).strftime("%H:%M") == "00:45"


@needs_time_zones
def test_another_zone_means_another_first_run_of_a_cron_expression() -> None:
    row = build_schedule(tasks.echo, schedule_type="C", cron="45 0 * * *")

    row.time_zone = "Asia/Kathmandu"
    row.save()

    assert row.next_run is not None
    assert row.next_run.astimezone(KATHMANDU).strftime("%H:%M") == "00:45"


@needs_time_zones
@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "europe", "/etc/localtime"])
def test_a_zone_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="is not a time zone"):
        make_schedule(q_options={"time_zone": name})


@override_settings(USE_TZ=False)
def test_without_time_zones_a_schedule_cannot_have_one() -> None:
    with pytest.raises(ValidationError, match="one clock only"):
        make_schedule(next_run=None, q_options={"time_zone": "Asia/Kathmandu"})


@needs_time_zones
def test_a_row_whose_zone_is_gone_says_so_and_holds_up_nobody(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    broken = make_schedule()
    Schedule.objects.filter(pk=broken.pk).update(time_zone="Mars/Olympus")
    make_schedule(name="sound")

    dispatcher.fire_due(NOW)

    broken.refresh_from_db()
    assert [package.header.options.group for package in outbox] == ["sound"]
    assert "is not a time zone" in broken.last_error


# ── start and end ────────────────────────────────────────────────────────────────────────────────


def test_there_is_no_run_before_the_start_and_none_after_the_end(
    dispatcher: ScheduleDispatcher, outbox: Outbox
) -> None:
    window = {"starts_at": NOW + 2 * HOUR, "ends_at": NOW + 4 * HOUR}
    row = make_schedule(q_options=window, intended_date_kwarg="when")

    for half_hours in range(14):
        dispatcher.fire_due(NOW + half_hours * HOUR / 2)

    row.refresh_from_db()
    assert [package.kwargs["when"] for package in outbox] == [(NOW + n * HOUR).isoformat() for n in (2, 3, 4)]
    assert (row.next_run, row.repeats) == (None, -1)


def ways_to_keep_moments() -> dict[str, Callable[[datetime], Schedule]]:
    def changed(moment: datetime) -> Schedule:
        row = build_schedule(tasks.echo)
        row.next_run = row.starts_at = moment
        row.save(update_fields=["next_run", "starts_at"])
        return row

    return {
        "schedule": lambda moment: build_schedule(
            tasks.nothing, next_run=moment, q_options={"starts_at": moment, "ends_at": moment}
        ),
        "start alone": lambda moment: build_schedule(tasks.echo, q_options={"starts_at": moment}),
        "create": lambda moment: Schedule.objects.create(func="a.b", next_run=moment, starts_at=moment),
        "save some": changed,
    }


@pytest.mark.parametrize("way", ways_to_keep_moments())
def test_without_time_zones_an_aware_moment_is_kept_on_the_clock_of_the_project(way: str) -> None:
    with override_settings(USE_TZ=False):
        row = ways_to_keep_moments()[way](datetime(2030, 7, 1, 12, tzinfo=UTC))

        assert row.starts_at == row.next_run == datetime(2030, 7, 1, 14)  # noqa: DTZ001
        row.refresh_from_db()
        assert row.starts_at == row.next_run == datetime(2030, 7, 1, 14)  # noqa: DTZ001


@pytest.mark.parametrize("way", ways_to_keep_moments())
def test_a_naive_moment_is_read_on_the_clock_of_the_project(way: str) -> None:
    with override_settings(USE_TZ=True):
        with pytest.warns(RuntimeWarning, match="received a naive datetime"):
            row = ways_to_keep_moments()[way](datetime(2030, 7, 1, 14))  # noqa: DTZ001

        row.refresh_from_db()
        assert row.starts_at == row.next_run == datetime(2030, 7, 1, 12, tzinfo=UTC)


def test_a_schedule_whose_end_is_moved_goes_on(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    row = make_schedule(next_run=timezone.now() - 3 * HOUR, q_options={"ends_at": timezone.now() - 2 * HOUR})
    dispatcher.fire_due(timezone.now())
    dispatcher.fire_due(timezone.now())
    row.refresh_from_db()
    ended = row.next_run

    row.ends_at = None
    row.save()

    assert ended is None
    assert row.next_run is not None
    assert row.next_run > timezone.now()


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(ValidationError, match="there would never be a run"):
        make_schedule(q_options={"starts_at": NOW, "ends_at": NOW - HOUR})


def test_without_a_next_run_the_first_one_is_at_the_start() -> None:
    later = timezone.now() + DAY

    assert make_schedule(next_run=None, q_options={"starts_at": later}).next_run == later


# ── no overlap ───────────────────────────────────────────────────────────────────────────────────


def test_a_run_is_left_out_while_the_last_one_is_unfinished(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    row = make_schedule(q_options={"no_overlap": True})

    for hours in range(3):
        dispatcher.fire_due(NOW + hours * HOUR)
    assert len(outbox) == 1
    end(outbox[0])
    dispatcher.fire_due(NOW + 3 * HOUR)

    row.refresh_from_db()
    assert len(outbox) == 2
    assert row.next_run == NOW + 4 * HOUR


def test_a_run_that_will_be_tried_again_is_unfinished(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    make_schedule(q_options={"no_overlap": True})

    dispatcher.fire_due(NOW)
    end(outbox[0], status="failure", failure=("ValueError", "no luck", ""), final=False)
    dispatcher.fire_due(NOW + HOUR)

    assert len(outbox) == 1


def test_a_run_that_failed_for_good_is_finished(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    make_schedule(q_options={"no_overlap": True})

    dispatcher.fire_due(NOW)
    end(outbox[0], status="failure", failure=("ValueError", "no luck", ""))
    dispatcher.fire_due(NOW + HOUR)

    assert len(outbox) == 2


def test_the_end_of_an_older_run_frees_nothing(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    make_schedule(q_options={"no_overlap": True})
    dispatcher.fire_due(NOW)
    end(outbox[0])
    dispatcher.fire_due(NOW + HOUR)

    end(outbox[0])
    dispatcher.fire_due(NOW + 2 * HOUR)

    assert len(outbox) == 2


def test_a_run_of_which_nothing_is_heard_for_a_day_is_given_up(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    make_schedule(q_options={"no_overlap": True})

    dispatcher.fire_due(NOW)
    dispatcher.fire_due(NOW + RUN_LOST_AFTER)

    assert len(outbox) == 2


def test_a_run_that_ends_before_the_scheduler_has_noted_that_it_was_sent_is_finished(outbox: Outbox) -> None:
    make_schedule(q_options={"no_overlap": True})
    outbox.error, outbox.too_late = KeyboardInterrupt(), True
    with pytest.raises(KeyboardInterrupt):
        make_dispatcher(outbox).fire_due(NOW)
    outbox.error = None
    end(outbox[0])

    successor = make_dispatcher(outbox)
    successor.fire_due(NOW + CLAIM_DURATION)
    successor.fire_due(NOW + HOUR)

    assert [package.id for package in outbox[:2]] == [outbox[0].id] * 2
    assert len(outbox) == 3


def test_a_broker_that_is_away_leaves_no_schedule_busy_for_ever(outbox: Outbox) -> None:
    make_schedule(q_options={"no_overlap": True})
    outbox.error = BrokerUnavailable("away")
    dispatcher = make_dispatcher(outbox)
    with pytest.raises(BrokerUnavailable):
        dispatcher.fire_due(NOW)
    outbox.error = None

    dispatcher.fire_due(NOW + timedelta(seconds=1))
    end(outbox[0])
    dispatcher.fire_due(NOW + HOUR)

    assert len(outbox) == 2


def test_other_schedules_pay_nothing_for_it(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    make_schedule()

    dispatcher.fire_due(NOW)

    assert outbox[0].header.options.schedule is None
    assert Schedule.objects.get().busy_since is None


# ── options and arguments ────────────────────────────────────────────────────────────────────────


def test_every_option_of_a_task_travels(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    given = {
        "hook": tasks.echo,
        "group": "sums",
        "save": False,
        "cached": 60,
        "ack_failure": True,
        "timeout": timedelta(minutes=2),
        "queue": "slow",
        "max_attempts": 3,
        "retry_delay": 5,
        "retry_on": [ValueError, "app.errors.Busy"],
        "no_retry_on": KeyError,
        "priority": 7,
        "eta": NOW + DAY,
        "task_name": "mine",
    }
    before = dict(given)
    make_schedule(q_options=given)

    dispatcher.fire_due(NOW)

    options = outbox[0].header.options
    assert given == before
    assert outbox[0].header.name == "mine"
    assert options.to_wire() == {
        "hook": "tests.sample.tasks.echo",
        "group": "sums",
        "save": False,
        "cached": 60,
        "ack_failure": True,
        "timeout": 120.0,
        "queue": "slow",
        "max_attempts": 3,
        "retry_delay": 5.0,
        "retry_on": ("ValueError", "app.errors.Busy"),
        "no_retry_on": ("KeyError",),
        "priority": 7,
        "not_before": (NOW + DAY).timestamp(),
    }


def test_the_columns_go_before_the_options(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    make_schedule(
        name="named",
        hook="tests.sample.hooks.note",
        q_options={"hook": "a.b", "save": True},
        intended_date_kwarg="when",
        when="never",
    )

    dispatcher.fire_due(NOW)

    assert outbox[0].header.options.hook == "tests.sample.hooks.note"
    assert outbox[0].header.options.group == "named"
    assert dict(outbox[0].kwargs) == {"when": NOW.isoformat()}


def test_such_words_are_the_functions_own_unless_they_stand_in_q_options(
    dispatcher: ScheduleDispatcher, outbox: Outbox
) -> None:
    make_schedule(tasks.echo, time_zone="mine", catch_up="mine", enabled=False)

    dispatcher.fire_due(NOW)

    assert dict(outbox[0].kwargs) == {"time_zone": "mine", "catch_up": "mine", "enabled": False}


def test_arguments_come_back_as_what_they_were(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    given = (
        *(date(2026, 1, 2), datetime(2026, 1, 2, 3, tzinfo=UTC), HOUR, Decimal("1.10"), UUID(int=7)),
        *(datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Amsterdam"), fold=1), float("inf")),
        *({"a": [1, (2,)], 3: {4}}, b"\x00", None, True),
    )
    make_schedule(tasks.echo, *given)

    dispatcher.fire_due(NOW)

    assert outbox[0].args == given
    assert [type(each) for each in outbox[0].args] == [type(each) for each in given]


@pytest.mark.parametrize("value", [print, tasks.add, object(), Schedule, CatchUp.ALL, range(3), {1: object()}])
def test_what_would_come_back_as_something_else_is_refused(value: object) -> None:
    with pytest.raises(NotSerializable):
        make_schedule(tasks.echo, value)
    with pytest.raises(NotSerializable):
        make_schedule(tasks.echo, x=value)
    assert not Schedule.objects.exists()


def test_a_disabled_schedule_waits(dispatcher: ScheduleDispatcher, outbox: Outbox) -> None:
    row = make_schedule(q_options={"enabled": False})
    dispatcher.fire_due(NOW)
    assert outbox == []

    row.enabled = True
    row.save()
    dispatcher.fire_due(NOW)

    assert len(outbox) == 1
