"""Runs ``qchaos`` with all of its events on every broker and database, a few places at a time, and prints one table.

``--seconds 600 --seed 7 --at-once 3 --places redis,sqs``; other arguments go to qchaos. What each run has said, and
its figures, are kept in ``--folder``. ``--docs`` puts the table into the page about delivery.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.chaos_table import recoveries_of, table_of  # noqa: E402  found by the line above

PAGE = ROOT / "docs" / "explanation" / "delivery.md"
BEGIN, END = "<!-- chaos matrix: begin -->", "<!-- chaos matrix: end -->"
"""Between them the page has what was measured last."""
PLACES = "redis,postgres,mariadb,sqlite,rabbitmq,sqs,ferretdb,mongo,ironmq,disque"
AT_ONCE = 3
"""Places at the same time: a clock that jumps and a server that hangs leave a processor idle, and load is no event."""


def run(place: str, folder: Path, seconds: str, seed: str, arguments: list[str]) -> dict[str, Any] | None:
    """The figures of one place; None where it could not run."""
    file = folder / f"{place}.json"
    qchaos_arguments = ["--seconds", seconds, "--seed", seed, "--events", "all", "--figures", str(file), *arguments]
    command = [sys.executable, str(ROOT / "scripts" / "run_chaos.py"), "--places", place, *qchaos_arguments]
    # A session of its own: what is frozen when a terminal's group loses its leader would be hung up.
    with (folder / f"{place}.txt").open("wb") as said:
        streams: dict[str, Any] = {"stdout": said, "stderr": subprocess.STDOUT}
        subprocess.run(command, check=False, cwd=ROOT, start_new_session=True, **streams)
    figures: dict[str, Any] | None = json.loads(file.read_text()) if file.exists() else None
    print(f"{place}: {'could not run' if figures is None else findings(figures)}", flush=True)
    return figures


def findings(figures: dict[str, Any]) -> str:
    """The violated guarantees, one a line."""
    return "\n  ".join(figures["findings"]) or "all guarantees held"


def write_docs(measured: str) -> None:
    """Put it into the page, in the place of what is there."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{measured}\n\n{END}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--places", type=lambda text: text.split(","), default=PLACES.split(","))
    parser.add_argument("--seconds", default="60")
    parser.add_argument("--seed", default="7")
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--docs", action="store_true")
    options, arguments = parser.parse_known_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="chaos-matrix-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    with ThreadPoolExecutor(options.at_once) as threads:
        done = threads.map(lambda each: run(each, folder, options.seconds, options.seed, arguments), options.places)
        figures = dict(zip(options.places, done, strict=True))
    measured = "\n".join([table_of(figures), "", "Seconds of the slowest recovery:", "", recoveries_of(figures)])
    print("", measured, "", f"What each has said is in {folder}.", sep="\n")
    if options.docs:
        write_docs(measured)
    return 0 if all(each is not None and each["ok"] for each in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
