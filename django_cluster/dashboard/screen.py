"""The terminal of ``qmonitor``, by blessed: keys, size, redraw."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import blessed

from django_cluster.dashboard.layout import Canvas, Scene, key_context, render
from django_cluster.dashboard.panels import TABS
from django_cluster.dashboard.refresher import Refresher
from django_cluster.dashboard.state import ScreenRequest, ScreenState, handle_key
from django_cluster.dashboard.text import Line, clean

REDRAW_SECONDS = 0.1
"""Longest wait for a key, in seconds, before the screen is redrawn."""

COLOURS = {
    "title": "bold",
    "head": "bold",
    "good": "green",
    "bad": "bold_red",
    "warn": "yellow",
    "dim": "bright_black",
    "key": "cyan",
    "tab": "bold_reverse",
    "selected": "reverse",
    "bar": "reverse",
    "alarm": "bold_white_on_red",
}
MONOCHROME = {
    "title": "bold",
    "head": "bold",
    "bad": "bold",
    "warn": "bold",
    "key": "bold",
    "tab": "bold_reverse",
    "selected": "reverse",
    "bar": "reverse",
    "alarm": "bold_reverse",
}
"""Styles if the environment variable ``NO_COLOR`` is set."""


GREYS = 16
"""Number of colours of a terminal that can show *bright black*."""


@contextmanager
def _hidden_variable(name: str) -> Iterator[None]:
    """Hide a variable from blessed, which with ``NO_COLOR`` would not move the cursor either."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value


class Screen:
    """Draws snapshots and passes keys on until the user quits."""

    def __init__(self, refresher: Refresher, *, ascii_only: bool, operate: bool, interval: float) -> None:
        with _hidden_variable("NO_COLOR"):
            self._terminal = blessed.Terminal()
        self._refresher = refresher
        self._fixed: dict[str, Any] = {"ascii_only": ascii_only, "operate": operate, "interval": interval}
        self._styles = self._formatters(MONOCHROME if os.environ.get("NO_COLOR") else COLOURS)
        if self._terminal.number_of_colors < GREYS:
            self._styles.pop("dim", None)
        self._drawn: list[str] = []
        self._size = (0, 0)
        self._typed = ""

    def _formatters(self, names: Mapping[str, str]) -> dict[str, Callable[[str], str]]:
        return {style: getattr(self._terminal, name) for style, name in names.items()}

    def run(self) -> None:
        """Run until ``q`` is pressed; the terminal is restored in any case."""
        terminal, state = self._terminal, ScreenState()
        self._refresher.show(TABS[state.tab].parts)
        with terminal.fullscreen(), terminal.cbreak(), terminal.hidden_cursor():
            while True:
                state = self._heard(state)
                scene, canvas = self._scene(state), self._canvas()
                self._paint(render(scene, canvas), canvas)
                key = self._key()
                if not key:
                    continue
                state, request = handle_key(state, key, key_context(scene, canvas))
                if request is not None and request.kind == "quit":
                    return
                self._pass_on(state, request)

    def _scene(self, state: ScreenState) -> Scene:
        refresher = self._refresher
        return Scene(snapshot=refresher.snapshot, state=state, now=time.time(), detail=refresher.detail)

    def _canvas(self) -> Canvas:
        return Canvas(width=self._terminal.width, height=self._terminal.height, **self._fixed)

    def _heard(self, state: ScreenState) -> ScreenState:
        """The state with the latest message of the refresher in its footer."""
        if not self._refresher.messages:
            return state
        return replace(state, message=self._refresher.messages.pop())

    def _pass_on(self, state: ScreenState, request: ScreenRequest | None) -> None:
        self._refresher.show(TABS[state.tab].parts, state.query)
        if request is None:
            return
        if request.kind == "detail":
            self._refresher.open(request.task)
        elif request.action is not None:
            self._refresher.act(request.action)
        else:
            self._refresher.refresh()

    def _key(self) -> str:
        if self._typed:
            key, self._typed = self._typed, ""
            return key
        pressed = self._terminal.inkey(timeout=REDRAW_SECONDS)
        if not pressed:
            return ""
        if len(pressed) == 2 and pressed[0] == "\x1b":  # Escape, and another key before it was known for one
            self._typed = pressed[1]
            return "KEY_ESCAPE"
        if pressed.is_sequence:
            return str(pressed.name)
        return {
            "\t": "KEY_TAB",
            "\n": "KEY_ENTER",
            "\r": "KEY_ENTER",
            "\x1b": "KEY_ESCAPE",
            "\x7f": "KEY_BACKSPACE",
        }.get(str(pressed), str(pressed))

    def _paint(self, drawn: list[Line], canvas: Canvas) -> None:
        """Write the lines that have changed, in one write."""
        terminal = self._terminal
        if self._size != (canvas.width, canvas.height):
            self._size, self._drawn = (canvas.width, canvas.height), []
            terminal.stream.write(terminal.clear)
        lines = ["".join(self._styled(clean(span.text), span.style) for span in each) for each in drawn]
        changed = [
            terminal.move_xy(0, row) + text + terminal.normal + terminal.clear_eol
            for row, text in enumerate(lines)
            if row >= len(self._drawn) or self._drawn[row] != text
        ]
        self._drawn = lines
        if changed:
            terminal.stream.write("".join(changed))
            terminal.stream.flush()

    def _styled(self, text: str, style: str) -> str:
        formatter = self._styles.get(style)
        return formatter(text) if formatter is not None else text
