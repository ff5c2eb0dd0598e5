"""A program: looks at the admin with Unfold in a real browser, and complains of what a person would stumble over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from playwright.sync_api import Page


@contextmanager
def served() -> Iterator[str]:
    """The address of the site, with its style sheets."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.test.testcases import LiveServerThread

    server = LiveServerThread("127.0.0.1", StaticFilesHandler)
    server.daemon = True
    server.start()
    server.is_ready.wait()
    if server.error:
        raise server.error
    yield f"http://127.0.0.1:{server.port}"
    server.terminate()


def style(page: Page, selector: str, name: str) -> str:
    return str(page.locator(selector).first.evaluate(f"each => getComputedStyle(each).{name}"))


def look(page: Page, admin: str, failure: str) -> None:
    page.goto(f"{admin}/failure/{failure}/change/", wait_until="networkidle")
    page.get_by_role("link", name="Retry").click()
    page.get_by_text("Retry this task?").wait_for()
    assert style(page, "input[value='Retry']", "backgroundColor") != "rgba(0, 0, 0, 0)"

    page.goto(f"{admin}/heartbeat/", wait_until="networkidle")
    assert style(page, "button[name=order]", "backgroundColor") != "rgba(0, 0, 0, 0)"
    assert style(page, ".dc-scroll th", "textAlign") == "start"
    assert style(page, ".dc-scroll td", "paddingLeft") == "8px"

    page.goto(f"{admin}/schedule/add/", wait_until="networkidle")
    for name in ("args", "kwargs", "func"):
        assert style(page, f"[name={name}]", "borderTopWidth") == "1px", name
    page.locator("select[name=schedule_type]").select_option("C")
    page.locator("input[name=cron]").fill("30 2 * * *")
    page.locator("#dc-runs li").nth(4).wait_for()
    assert "2:30" in page.locator("form .dc-words").inner_text()


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.browser.unfold_settings"
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright runs a loop
    django.setup()

    from django.contrib.auth.models import Permission, User
    from django.core.management import call_command
    from django.test import Client
    from django.test.utils import setup_test_environment

    from tests.browser import rows
    from tests.servers import Chromium

    setup_test_environment()
    call_command("migrate", verbosity=0)
    rows.fill()
    client = Client()
    chief = User.objects.create_superuser("chief")
    # One who chooses among the registered tasks: a select of ours in a form of theirs.
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(
        Permission.objects.filter(content_type__app_label="django_cluster").exclude(codename="schedule_any_function")
    )
    with served() as address, Chromium.running() as browser:
        for user in (chief, clerk):
            client.force_login(user)
            context = browser.new_context()
            context.set_default_timeout(8000)
            cookie = client.cookies["sessionid"].value
            context.add_cookies([{"name": "sessionid", "value": cookie, "url": address}])
            look(context.new_page(), f"{address}/admin/django_cluster", rows.FAILURE_ID)
            context.close()
    print("good")  # noqa: T201  the test reads it


if __name__ == "__main__":
    main()
