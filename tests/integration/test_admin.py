"""The admin's pages, as a browser asks for them."""

from __future__ import annotations

import html
import re
import time
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_cluster.admin import queue_reader, search
from django_cluster.admin.formatting import moment_text
from django_cluster.admin.search import FIELD_SEARCHES, SearchScope
from django_cluster.client.client import get_client
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.core.time import from_unix_time
from django_cluster.models import Failure, Schedule, Success, Task
from django_cluster.testing.outcomes import make_failure, make_outcome
from tests.integration.admin_client import Unfriendly, page, queue_one, save
from tests.sealed import sealed_result

ID = "0123456789abcdef" * 2

pytestmark = pytest.mark.django_db

LISTS = ("success", "failure", "schedule", "queuedtask")


@pytest.mark.parametrize("name", LISTS)
def test_an_empty_list_can_be_opened(name: str, admin_client: Client) -> None:
    assert "0 " in page(admin_client, f"{name}_changelist")


def test_successes_and_failures_stand_in_lists_of_their_own(admin_client: Client) -> None:
    save(make_outcome(name="went-well"), make_failure(name="went-wrong", failure=("ValueError", "no good", "")))

    successes, failures = page(admin_client, "success_changelist"), page(admin_client, "failure_changelist")

    assert "went-well" in successes
    assert "went-wrong" not in successes
    assert "went-wrong" in failures
    assert "no good" in failures


@pytest.mark.parametrize("word", ["needle", "n33dle", "haystack.needle", "a" * 32])
def test_a_task_is_found_by_what_people_know_of_it(word: str, admin_client: Client) -> None:
    save(
        make_outcome(id="a" * 32, name="needle", func="haystack.needle", options={"group": "n33dle"}),
        make_outcome(name="something else"),
    )

    listed = admin_client.get(reverse("admin:django_cluster_success_changelist"), {"q": word}).content.decode()

    assert "a" * 32 in listed
    assert "something else" not in listed


@pytest.mark.parametrize("words", ["declined", "card was declined", "CardError", "shop.errors"])
def test_a_failure_is_found_by_words_of_its_error(words: str, admin_client: Client) -> None:
    save(
        make_failure(name="declined-one", failure=("shop.errors.CardError", "Your card was declined.", "")),
        make_failure(name="another", failure=("ValueError", "no good", "")),
    )

    for query in (words, f'error:"{words}"'):
        listed = page(admin_client, "failure_changelist", q=query)
        assert "declined-one" in listed
        assert "another" not in listed


def test_a_list_shows_function_error_and_time_first(admin_client: Client) -> None:
    save(make_failure(name="red-green", func="billing.tasks.refund", stopped_at=time.time() - 200))

    text = page(admin_client, "failure_changelist")

    row = text[text.index("<tbody>") : text.index("</tbody>")]
    places = [row.index(f"field-{name}") for name in ("shown_func", "error_beginning", "finished", "shown_name")]
    assert places == sorted(places)
    assert "<strong>refund</strong>" in row
    assert ">3 min ago<" in row
    assert re.search(r'title="\d{4}-\d\d-\d\d \d\d:\d\d:\d\d', row)
    assert "Select failed task to view" in text


def test_a_list_can_be_narrowed_to_the_last_hour_and_to_a_kind_of_error(admin_client: Client) -> None:
    now = time.time()
    save(
        make_failure(name="just now", failure=("shop.errors.CardError", "declined", ""), stopped_at=now - 60),
        make_failure(name="yesterday", failure=("TypeError", "x", ""), stopped_at=now - 20 * 3600),
        make_failure(name="last week", failure=("TypeError", "x", ""), stopped_at=now - 6 * 86400),
    )

    def names(**query: str) -> set[str]:
        text = page(admin_client, "failure_changelist", **query)
        return {name for name in ("just now", "yesterday", "last week") if f">{name}<" in text}

    assert names(since="1h") == {"just now"}
    assert names(since="24h") == {"just now", "yesterday"}
    assert names(since="7d") == names(since="nonsense") == {"just now", "yesterday", "last week"}
    assert names(error_kind="TypeError") == {"yesterday", "last week"}
    assert ">CardError<" in page(admin_client, "failure_changelist")


def test_a_filter_offers_the_most_frequent_values_and_the_chosen_one(admin_client: Client) -> None:
    save(*(make_outcome(func=f"shop.tasks.f{number:02}") for number in (*range(30), *range(9))))

    text = page(admin_client, "success_changelist", func="shop.tasks.f20")

    offered = set(re.findall(r"\?func=(shop\.tasks\.f\d\d)", text))
    assert {f"shop.tasks.f{number:02}" for number in range(9)} <= offered
    assert "shop.tasks.f20" in offered
    assert len(offered) == 11


def test_a_list_counts_with_separators_and_says_where_it_stopped(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MAX_LISTED", 1200)
    save(*(make_outcome() for _ in range(1205)))

    assert "1,200+ successful tasks" in page(admin_client, "success_changelist")
    Task.objects.filter(pk__in=Task.objects.values_list("pk")[:10]).delete()
    text = page(admin_client, "success_changelist")
    assert "1,195 successful tasks" in text
    assert "are listed, and there are more" not in text


def test_a_list_can_be_narrowed_to_a_group(admin_client: Client) -> None:
    save(make_outcome(name="inside", options={"group": "primes"}), make_outcome(name="outside"))

    listed = admin_client.get(reverse("admin:django_cluster_success_changelist"), {"group": "primes"}).content.decode()

    assert "inside" in listed
    assert "outside" not in listed


@pytest.mark.parametrize("name", LISTS)
def test_a_long_list_asks_no_more_questions_than_a_short_one(name: str, admin_client: Client) -> None:
    def fill(count: int) -> None:
        save(*(make_outcome() for _ in range(count)), *(make_failure() for _ in range(count)))
        for task in Task.objects.all()[:count]:
            Schedule.objects.create(name=task.name, func="tests.sample.tasks.add", task=task.id)
            queue_one()

    def questions() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(admin_client, f"{name}_changelist")
        return len(captured)

    fill(2)
    few = questions()
    fill(30)

    assert questions() == few


def test_lists_load_no_sealed_bytes(admin_client: Client) -> None:
    save(make_outcome(result=b"P..."), make_failure())

    with CaptureQueriesContext(connection) as captured:
        page(admin_client, "success_changelist")
        page(admin_client, "failure_changelist")

    assert not any(re.search("sealed|error_traceback|payload", query["sql"]) for query in captured)


def test_the_page_of_a_success_shows_what_was_called_and_what_came_of_it(admin_client: Client) -> None:
    outcome = make_outcome(id=ID, pair=((1, "<b>"), {"x": 2}), result=sealed_result({"answer": 42}, ID))
    save(outcome)

    html = page(admin_client, "success_change", outcome.id)

    assert "(1, '<b>')" in html
    assert "{'answer': 42}" in html


def test_the_page_of_a_failure_shows_its_error_and_the_attempts_before(admin_client: Client) -> None:
    outcome = make_failure(failure=("ValueError", "the first time", ""))
    save(outcome)
    save(outcome._replace(attempt=2, failure=("KeyError", "the second time", "in line 7"), payload="the payload"))

    html = page(admin_client, "failure_change", outcome.id)

    for text in ("ValueError: the first time", "KeyError", "the second time", "in line 7", "the payload"):
        assert text in html


def test_the_page_of_a_failure_begins_with_what_failed_and_leaves_out_what_is_empty(admin_client: Client) -> None:
    outcome = make_failure(
        func="billing.tasks.refund",
        failure=("CardError", "declined", "Traceback: here"),
        options={"group": "night", "max_attempts": 3, "timeout": 60},
    )
    save(outcome)

    text = page(admin_client, "failure_change", outcome.id)

    places = [text.index(f"field-{name}") for name in ("linked_func", "shown_args", "shown_outcome", "shown_traceback")]
    assert places == sorted(places)
    assert places[-1] < text.index("field-shown_course") < text.index("field-id")
    assert "?func=billing.tasks.refund" in text
    assert "?group=night" in text
    assert "run 1 of 3 · waited 1.000 s · ran 1.000 s of 1 min 00 s" in text
    for name in ("shown_queue", "hook", "shown_retried_as", "shown_payload"):
        assert f"field-{name}" not in text


@pytest.mark.parametrize("sealed", [b"", b"X", b"P" + bytes(40), b"J{", b"Pshort"])
def test_a_value_that_cannot_be_read_is_a_sentence(sealed: bytes, admin_client: Client) -> None:
    outcome = make_outcome(arguments=sealed, result=sealed)
    save(outcome)

    assert "This value can no longer be read." in page(admin_client, "success_change", outcome.id)


def test_a_value_that_cannot_be_shown_is_a_sentence(admin_client: Client) -> None:
    outcome = make_outcome(id=ID, result=sealed_result(Unfriendly(), ID))
    save(outcome)

    assert "This value cannot be shown: RuntimeError" in page(admin_client, "success_change", outcome.id)


def test_arguments_of_another_shape_are_a_sentence(admin_client: Client) -> None:
    outcome = make_outcome(pair="neither args nor kwargs")
    save(outcome)

    assert "This value can no longer be read." in page(admin_client, "success_change", outcome.id)


def test_a_very_long_value_is_shown_in_part(admin_client: Client) -> None:
    outcome = make_outcome(id=ID, result=sealed_result("x" * 1_000_000, ID))
    save(outcome)

    assert len(page(admin_client, "success_change", outcome.id)) < 100_000


def test_ended_tasks_cannot_be_added_or_changed(admin_client: Client) -> None:
    outcome = make_outcome()
    save(outcome)

    assert admin_client.get(reverse("admin:django_cluster_success_add")).status_code == 403
    change = reverse("admin:django_cluster_success_change", args=(outcome.id,))
    assert admin_client.post(change, {"name": "changed"}).status_code == 403
    assert Task.objects.get().name == outcome.name


def test_a_queued_task_is_known_by_its_label(admin_client: Client) -> None:
    queued = queue_one()

    listed, shown = page(admin_client, "queuedtask_changelist"), page(admin_client, "queuedtask_change", queued.pk)

    for shown_page in (listed, shown):
        for text in ("f" * 32, "the name", "tests.sample.tasks.add", "primes"):
            assert text in shown_page


def test_the_arguments_of_a_queued_task_are_shown_once_its_signature_holds(admin_client: Client) -> None:
    header = TaskHeader(id="e" * 32, name="ours", func="tests.sample.tasks.add", enqueued_at=1.0)
    ours = queue_one(get_client().codec.dumps(TaskPackage(header=header, args=(4401,), kwargs={"shop": "north"})))
    theirs = queue_one()

    shown = page(admin_client, "queuedtask_change", ours.pk)
    assert "(4401,)" in shown
    assert "{'shop': 'north'}" in shown
    assert page(admin_client, "queuedtask_change", theirs.pk).count("This value can no longer be read.") == 2


def test_a_list_that_is_cut_off_says_at_which_end(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_LISTED", 1)
    save(make_outcome(id="a" * 32), make_outcome(id="b" * 32))
    monkeypatch.setattr(queue_reader, "MAX_MESSAGES", 1)
    for _ in range(2):
        queue_one()

    assert "The newest 1+ are listed" in page(admin_client, "success_changelist")
    look, leafed = page(admin_client, "queuedtask_changelist"), page(admin_client, "queuedtask_changelist", rows="all")
    assert "The first 1 are shown." in look
    assert "?rows=all" in look
    assert "The first 1+ are shown." in leafed
    assert "The newest" not in leafed


def test_when_a_queued_task_is_due_is_written_as_elsewhere(admin_client: Client) -> None:
    queued = queue_one(due=1_700_000_000_000_000)

    shown = page(admin_client, "queuedtask_change", queued.pk)
    assert moment_text(from_unix_time(1_700_000_000)) in shown
    assert "2023-11-14" not in shown


def test_a_list_names_the_error_and_shows_that_it_is_cut(admin_client: Client) -> None:
    save(
        make_failure(name="short", failure=("shop.errors.NoStock", "no books", "")),
        make_failure(name="long", failure=("ValueError", "x" * 200, "")),
    )

    listed = page(admin_client, "failure_changelist")
    assert ">NoStock: no books<" in listed
    assert f"ValueError: {'x' * 99}…<" in listed


@pytest.mark.parametrize("payload", ["garbage", "dc1p:AAAA:AAAA", "dc1p:é:AAAA"])
def test_a_queued_task_without_a_label_breaks_no_page(payload: str, admin_client: Client) -> None:
    queued = queue_one(payload)

    assert "*unreadable" in page(admin_client, "queuedtask_changelist")
    assert "*unreadable" in page(admin_client, "queuedtask_change", queued.pk)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the others keep statistics; see test_admin_lists")
@pytest.mark.parametrize("model", [Success, Failure])
@pytest.mark.parametrize("column", ["name", "group"])
def test_sqlite_looks_for_a_name_in_the_index_of_names(column: str, model: type[Task]) -> None:
    """Without statistics it takes an index with one known column for as good as any other with one."""
    plan = FIELD_SEARCHES[column](model.objects.all(), "red", SearchScope()).explain()

    assert f"django_cluster_task_{column}" in plan


@pytest.mark.parametrize("first", [make_outcome, make_failure])
def test_of_tasks_with_one_name_the_newest_is_found_however_it_ended(first: Any) -> None:
    second = make_failure if first is make_outcome else make_outcome
    older, newer = first(name="twin", stopped_at=1_700_000_000.0), second(name="twin", stopped_at=1_700_000_100.0)
    save(older, newer)

    assert Task.objects.find("twin") == Task.objects.get(pk=newer.id)
    assert Task.objects.find("nobody") is None


def test_the_admin_calls_the_app_as_label_says(admin_client: Client) -> None:
    def heading() -> str:
        return page_of(admin_client, reverse("admin:index"))

    assert "Django Cluster" in heading()
    with override_settings(Q_CLUSTER={"name": "tests", "label": "Background tasks"}):
        assert "Background tasks" in heading()
        assert "Django Cluster" not in heading()
        assert "Background tasks" in page_of(admin_client, reverse("admin:app_list", args=["django_cluster"]))
        assert str(apps.get_app_config("django_cluster").verbose_name) == "Background tasks"
    with override_settings(Q_CLUSTER={"label": 7}):
        assert str(apps.get_app_config("django_cluster").verbose_name) == "Django Cluster"


def page_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return html.unescape(response.content.decode())
