"""Debian's browser, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.servers.tool import Tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update"),
    *("--disable-background-networking", "--disable-sync"),
)


class Chromium(Tool):
    name = "chromium"
    programs = ("chromium",)
    drivers = ("playwright", "axe_playwright_python")
    package = "chromium"

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Browser]:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=cls.find("chromium"), args=list(FLAGS))
            try:
                yield browser
            finally:
                browser.close()
