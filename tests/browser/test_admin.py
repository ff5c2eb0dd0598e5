"""The admin's pages in a real browser: under a strict policy, light and dark, on a desk and on a phone.

With ``DOCS_IMAGES=1`` the pages are also photographed for the docs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from django_cluster.models import QueuedTask, Schedule
from tests.browser import rows
from tests.servers import Chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

pytestmark = [pytest.mark.server("chromium"), pytest.mark.django_db(transaction=True)]

Scheme = Literal["light", "dark"]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PAGES = {
    "successes": ("success_changelist", ()),
    "success": ("success_change", (rows.SUCCESS_ID,)),
    "failures": ("failure_changelist", ()),
    "failure": ("failure_change", (rows.FAILURE_ID,)),
    "dead": ("failure_change", (rows.DEAD_ID,)),
    "schedules": ("schedule_changelist", ()),
    "schedule": ("schedule_change", ("nightly report",)),
    "queue": ("queuedtask_changelist", ()),
    "clusters": ("heartbeat_changelist", ()),
    "overview": ("rollup_changelist", ()),
    "function": ("rollup_function", ()),
}
QUERIES = {"rollup_function": "?func=shop.tasks.charge"}
PHOTOGRAPHED = ("overview", "failures", "failure", "schedules", "schedule", "queue", "clusters")
FULL_LENGTH = ("overview", "failure", "schedule")
"""Pages that are photographed as a whole."""
LAPTOP = {"width": 1280, "height": 800}
ROWS_IN_SIGHT = """() => {
    const tables = [...document.querySelectorAll("#result_list, .dc-lines table")];
    const places = tables.flatMap((table) => [...table.tBodies[0].rows]).map((row) => row.getBoundingClientRect());
    return {
        rows: places.filter((place) => place.height > 0 && place.bottom <= innerHeight).length,
        cut: tables.some((table) => table.scrollWidth > table.parentElement.clientWidth),
    };
}"""
DESK, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # The module's own loop is no reason to keep Django from its database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with Chromium.running() as browser:
        yield browser
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


class Visit:
    """Somebody who may do everything looks at pages, and listens to what the browser complains about."""

    def __init__(self, browser: Browser, address: str, cookie: str, scheme: Scheme, size: Any) -> None:
        self.address = address
        self.context = browser.new_context(color_scheme=scheme, viewport=size)
        self.context.add_cookies([{"name": "sessionid", "value": cookie, "url": address}])
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self.hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def hear(self, said: ConsoleMessage) -> None:
        if said.type == "error" and not said.location["url"].endswith("favicon.ico"):
            self.complaints.append(f"{said.text} ({said.location['url']})")

    def open(self, name: str) -> Page:
        view, arguments = PAGES[name]
        rows.clusters()
        return self.go(view, *(_key(each) for each in arguments))

    def go(self, view: str, *arguments: object) -> Page:
        found = self.page.goto(
            self.address + reverse(f"admin:{_full(view)}", args=arguments) + QUERIES.get(view, ""),
            wait_until="networkidle",
        )
        assert found is not None
        assert found.status == 200
        assert found.headers["content-security-policy"] == "default-src 'self'"
        return self.page


def _key(argument: str) -> object:
    return Schedule.objects.get(name=argument).pk if " " in argument else argument


def _full(view: str) -> str:
    return view if view in DJANGOS else f"django_cluster_{view}"


@pytest.fixture
def visitor(browser: Browser, live_server: Any, client: Client) -> Iterator[Any]:
    """Opens the browser of the chief, as light or dark and as wide as asked."""
    rows.fill()
    client.force_login(User.objects.create_superuser("chief"))
    cookie = client.cookies["sessionid"].value
    visits: list[Visit] = []

    def visit(scheme: Scheme = "light", size: Any = DESK) -> Visit:
        visits.append(Visit(browser, live_server.url, cookie, scheme, size))
        return visits[-1]

    yield visit
    for each in visits:
        each.context.close()
        assert each.complaints == []


AXE = {
    "resultTypes": ["violations"],
    # Without "cssom": where a sheet imports another, as Django 5.2's forms.css does, axe puts copies of them into
    # style elements of its own, and the strict policy complains of axe. Only an experimental rule reads them.
    "preload": {"assets": ["media"]},
}
# Django's pages by which ours are measured. In Django 5.2 a moment has two fields without labels (as in "change"), and
# no line is drawn under a link: axe minds where there is more text than link, as in the path of "password_change".
DJANGOS = ("auth_user_changelist", "auth_user_add", "auth_user_change", "password_change")


def violations(page: Page) -> list[tuple[str, str, str]]:
    """As axe sees the page: the rule that is broken, "content" or "frame", and the element that breaks it there."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options=AXE).response["violations"]
    within = "element => element.closest('#content') ? 'content' : 'frame'"
    return [
        (rule["id"], page.eval_on_selector(node["target"][0], within), node["html"])
        for rule in found
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_readable_for_everybody(scheme: Scheme, visitor: Any) -> None:
    visit = visitor(scheme)
    chief = {"auth_user_change": [User.objects.get().pk]}
    djangos = {(rule, place) for view in DJANGOS for rule, place, _ in violations(visit.go(view, *chief.get(view, [])))}

    for name in PAGES:
        for rule, place, element in violations(visit.open(name)):
            assert (rule, place) in djangos, f"{name}: {rule}, in the {place}: {element}"
            assert "dc-" not in element, f"{name}: {rule}: {element}"


def test_no_page_is_wider_than_a_phone(visitor: Any) -> None:
    visit = visitor(size=PHONE)

    for name in PAGES:
        wide = visit.open(name).evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], name


def test_a_failure_is_run_again_with_two_clicks(visitor: Any) -> None:
    page = visitor().open("failure")
    waiting = QueuedTask.objects.count()

    page.get_by_role("link", name="Retry").click()
    page.get_by_role("button", name="Retry").click()

    page.get_by_text("1 task was retried.").wait_for()
    assert QueuedTask.objects.count() == waiting + 1


def test_a_waiting_task_is_withdrawn_after_a_question(visitor: Any) -> None:
    page = visitor().open("queue")
    waiting = QueuedTask.objects.count()

    page.locator("tr", has_text="order 4405").get_by_role("checkbox").check()
    page.get_by_role("button", name="Cancel the selected tasks").click()
    page.get_by_role("button", name="Cancel tasks").click()

    page.get_by_text("1 task was cancelled.").wait_for()
    assert QueuedTask.objects.count() == waiting - 1


def test_the_form_of_a_schedule_says_at_once_what_it_means(visitor: Any) -> None:
    page = visitor().go("schedule_add")

    page.locator("select[name=schedule_type]").select_option("C")
    assert page.locator("input[name=minutes]").is_hidden()
    page.locator("input[name=cron]").fill("30 2 * * *")

    page.locator("#dc-runs li").nth(4).wait_for()
    assert "2:30" in page.locator("#dc-runs li").first.inner_text()
    assert "2:30" in page.locator(".field-shown_rule .readonly").inner_text()
    page.locator("input[name=cron]").fill("61 2 * * *")
    page.locator("#dc-runs .dc-error").wait_for()


def test_the_page_of_the_clusters_keeps_itself_up_to_date(visitor: Any) -> None:
    from django_cluster import control

    page = visitor().open("clusters")
    assert page.get_by_text("export 9").is_visible()

    control.resume("newsletter")

    page.get_by_text("The queue newsletter has been paused by ada").wait_for(state="detached", timeout=30_000)


def test_the_page_of_the_clusters_goes_on_after_a_click_into_a_table(visitor: Any) -> None:
    """A table that scrolls has the focus after a click; only a control that has it makes the page wait."""
    from django_cluster import control

    page = visitor().open("clusters")
    page.locator(".dc-scroll td").first.click()
    assert page.evaluate("document.activeElement.className") == "dc-scroll"
    said = page.locator(".dc-fresh").inner_text()

    control.resume("newsletter")

    page.get_by_text("The queue newsletter has been paused by ada").wait_for(state="detached", timeout=30_000)
    assert page.locator(".dc-fresh").inner_text() != said
    assert page.evaluate("document.activeElement.className") == "dc-scroll"


def test_the_page_of_the_clusters_waits_while_a_control_has_the_focus(visitor: Any) -> None:
    page = visitor().open("clusters")
    page.get_by_role("button", name="Pause mail").focus()
    said = page.locator(".dc-fresh").inner_text()

    page.get_by_text("Not refreshed while a control has the focus.").wait_for(timeout=30_000)
    assert page.locator(".dc-fresh").inner_text().startswith(said)
    page.evaluate("document.activeElement.blur()")

    page.wait_for_function("said => !document.querySelector('.dc-fresh').innerText.startsWith(said)", arg=said)
    assert page.get_by_text("Not refreshed while a control has the focus.").is_hidden()


def test_what_is_open_stays_open_when_the_page_is_refreshed(visitor: Any) -> None:
    page = visitor().open("clusters")
    page.get_by_text("3 other processes").click()
    assert page.get_by_text("sentinel", exact=True).is_visible()
    said = page.locator(".dc-fresh").inner_text()[: len("As of 12:00:00.")]
    page.evaluate("document.activeElement.blur()")

    page.wait_for_function("said => !document.querySelector('.dc-fresh').innerText.startsWith(said)", arg=said)
    assert page.get_by_text("sentinel", exact=True).is_visible()


@pytest.mark.parametrize("name", ["successes", "failures", "queue"])
def test_twenty_rows_are_in_sight_on_a_laptop(name: str, visitor: Any) -> None:
    rows.many()
    page = visitor(size=LAPTOP).open(name)

    seen = page.evaluate(ROWS_IN_SIGHT)

    assert seen["rows"] >= 20
    assert not seen["cut"], "every column is in sight"


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_traceback_begins_above_the_fold(size: Any, visitor: Any) -> None:
    page = visitor(size=size).open("failure")

    place = page.locator(".dc-traceback").bounding_box()

    assert place["y"] + 60 < size["height"]


def test_the_overview_keeps_itself_up_to_date_and_leads_to_the_page_of_a_function(visitor: Any) -> None:
    page = visitor().open("overview")
    QueuedTask.objects.all().delete()
    page.locator(".dc-cards a", has_text="waiting").get_by_text("0", exact=True).wait_for(timeout=30_000)
    page.get_by_role("link", name="charge shop.tasks").first.click()

    page.get_by_text("Run times, from short to long").wait_for()


def test_a_queue_is_paused_from_the_page_of_the_clusters(visitor: Any) -> None:
    from django_cluster import control

    page = visitor().open("clusters")

    page.get_by_role("button", name="Pause mail").click()
    page.get_by_role("button", name="Pause", exact=True).click()

    page.get_by_text("The queue mail is paused.").wait_for()
    assert {pause.queue for pause in control.paused()} == {"mail", "newsletter"}


@pytest.mark.skipif(
    "DOCS_IMAGES" not in os.environ, reason="the docs have their pictures; DOCS_IMAGES=1 takes new ones"
)
def test_the_pages_are_photographed_for_the_docs(visitor: Any) -> None:
    IMAGES.mkdir(exist_ok=True)
    rows.many()
    for scheme in ("light", "dark"):
        visit = visitor(scheme)
        for name in PHOTOGRAPHED:
            page = visit.open(name)
            page.screenshot(path=IMAGES / f"admin-{name}-{scheme}.png", full_page=name in FULL_LENGTH)
    assert all(file.stat().st_size > 10_000 for file in IMAGES.glob("admin-*.png"))


def test_the_docs_show_a_light_picture_of_each_page_and_have_its_dark_twin() -> None:
    pages = [(IMAGES.parent / "how-to" / name).read_text() for name in ("admin.md", "dashboard.md")]
    shown = set(re.findall(r"images/(admin-[a-z-]+\.png)", "".join(pages)))

    assert {f"admin-{name}-light.png" for name in PHOTOGRAPHED} <= shown
    assert [name for name in PHOTOGRAPHED if not (IMAGES / f"admin-{name}-dark.png").exists()] == []
