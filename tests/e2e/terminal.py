"""A person at a terminal: a program in a real pseudo-terminal, its screen as text, its keys, and its picture."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Self

import pyte
import pytest

from tests.e2e.running_cluster import PATIENCE as THEIRS
from tests.e2e.running_cluster import ROOT

PATIENCE = 2 * THEIRS
"""Seconds for one look: a person waits for a cluster, and for the program that shows it."""

KEYS = {
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "pgdn": "\x1b[6~", "pgup": "\x1b[5~",
    "home": "\x1b[H", "end": "\x1b[F", "enter": "\r", "esc": "\x1b", "tab": "\t", "backspace": "\x7f",
}  # fmt: skip


def take_terminal() -> None:
    """In the child: what is typed at its terminal reaches it as signals, too.

    A shell that starts the tests in its background has them, and all that they start, ignore the interrupt.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """Starts a program on a screen of its own, and ends it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        columns: int = 80,
        lines: int = 24,
        terminal: str = "xterm-256color",
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.drawn = False
        self._master, slave = pty.openpty()
        self._set_size(columns, lines)
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"LANG": "C.UTF-8", **environment, "TERM": terminal},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.hang_up()

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def read(self, wait: float = 0.05) -> None:
        """Let the program draw for a moment."""
        until = time.monotonic() + wait
        while select.select([self._master], [], [], max(0.0, until - time.monotonic()))[0]:
            try:
                drawn = os.read(self._master, 65536)
            except OSError:  # the program has ended
                return
            if not drawn:
                return
            self.drawn = True
            self._stream.feed(drawn)

    def look(self) -> list[str]:
        """The lines, after a moment."""
        self.read()
        return self.lines

    def wait_for_a_sign(self, within: float = PATIENCE) -> None:
        """Until the program has sent anything, be it a question to the terminal."""
        deadline = time.monotonic() + within
        while not self.drawn:
            self.read()
            if time.monotonic() > deadline:
                pytest.fail("the program says nothing")

    def wait_for(self, *texts: str, gone: Sequence[str] = (), within: float = PATIENCE) -> str:
        """Until all of these stand on the screen, and none of those that should have gone; returns the screen."""
        deadline = time.monotonic() + within
        while True:
            self.read()
            if all(text in self.text for text in texts) and not any(text in self.text for text in gone):
                return self.text
            if time.monotonic() > deadline:
                missing = [text for text in texts if text not in self.text]
                pytest.fail(f"the screen does not show {missing}, or still shows one of {list(gone)}:\n{self.text}")

    def wait_for_end(self, within: float = PATIENCE) -> int:
        """Until the program has ended; returns its exit code."""
        deadline = time.monotonic() + within
        while self.process.poll() is None:
            self.read()
            if time.monotonic() > deadline:
                pytest.fail(f"the program goes on:\n{self.text}")
        with contextlib.suppress(OSError):
            self.read()
        return self.process.returncode

    # ── touching ─────────────────────────────────────────────────────────────────────────────────

    def press(self, *keys: str) -> None:
        """Named keys, or text as it is typed."""
        for key in keys:
            os.write(self._master, KEYS.get(key, key).encode())

    def hang_up(self) -> None:
        """Close the window: nobody can read or type there any more, and the kernel sends SIGHUP."""
        if self._master >= 0:
            os.close(self._master)
        self._master = -1

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        self._set_size(columns, lines)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    # ── a picture ────────────────────────────────────────────────────────────────────────────────

    def save_picture(self, file: Path) -> None:
        """The screen as it is now, for the documentation."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(anywhere(as_svg(self.screen)))


STAND_IN = "/srv/shop"
"""Where the pictures pretend that the program lies."""


def anywhere(picture: str) -> str:
    """Without the folder of whoever took it; the lines keep their lengths."""
    gap = " " * (len(str(ROOT)) - len(STAND_IN))
    lines = [
        line.replace(str(ROOT), STAND_IN).replace("</text>", f"{gap}</text>") if str(ROOT) in line else line
        for line in picture.splitlines(keepends=True)
    ]
    return "".join(lines)


PALETTE = {
    "default": "#d8dee9", "black": "#2e3440", "red": "#f07178", "green": "#a3d977", "brown": "#ffcb6b",
    "yellow": "#ffcb6b", "blue": "#82aaff", "magenta": "#c792ea", "cyan": "#7fdbca", "white": "#eceff4",
    "brightblack": "#8a94a6", "brightwhite": "#ffffff",
}  # fmt: skip
BACKGROUND = "#1b2028"
CELL, ROW, MARGIN = 8.4, 18, 12
FONT = "DejaVu Sans Mono, Menlo, Consolas, monospace"


def as_svg(screen: pyte.Screen) -> str:
    """Each run of equal style as one text of exactly its width, whatever font shows it."""
    width, height = screen.columns * CELL + 2 * MARGIN, screen.lines * ROW + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}" font-size="14">',
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
    ]
    for row in range(screen.lines):
        for start, text, style in _runs(screen, row):
            parts += _run(row, start, text, *style)
    return "\n".join([*parts, "</svg>", ""])


Style = tuple[str, str, bool]


def _runs(screen: pyte.Screen, row: int) -> list[tuple[int, str, Style]]:
    runs: list[tuple[int, str, Style]] = []
    for column in range(screen.columns):
        char = screen.buffer[row][column]
        fore, back = _colour(char.fg, "default"), _colour(char.bg, "")
        if char.reverse:
            fore, back = back or BACKGROUND, fore
        style = (fore, back, char.bold)
        if runs and runs[-1][2] == style:
            start, text, _ = runs[-1]
            runs[-1] = (start, text + char.data, style)
        else:
            runs.append((column, char.data, style))
    return runs


def _colour(name: str, default: str) -> str:
    if name == "default":
        return PALETTE["default"] if default else ""
    return PALETTE.get(name) or f"#{name}"


def _run(row: int, start: int, text: str, fore: str, back: str, bold: bool) -> list[str]:
    text = text.replace(str(ROOT), "/srv/shop")  # whose machine it was is nobody's business
    left, top, long = MARGIN + start * CELL, MARGIN + row * ROW, len(text) * CELL
    parts = []
    if back:
        parts.append(f'<rect x="{left:.1f}" y="{top}" width="{long:.1f}" height="{ROW}" fill="{back}"/>')
    if text.strip():
        weight = ' font-weight="bold"' if bold else ""
        parts.append(
            f'<text x="{left:.1f}" y="{top + 14}" fill="{fore}"{weight} textLength="{long:.1f}"'
            f' lengthAdjust="spacingAndGlyphs" xml:space="preserve">{escape(text)}</text>'
        )
    return parts
