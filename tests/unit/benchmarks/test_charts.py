"""Bars as SVG."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.charts import Bar, charts, draw
from benchmarks.results import Results, Spread, Visit

SVG = "{http://www.w3.org/2000/svg}"


def bar(label: str, value: float) -> Bar:
    return Bar(label, Spread(value, value * 0.9, value * 1.1, 3))


def widths(svg: str) -> list[float]:
    return [float(each.attrib["width"]) for each in ElementTree.fromstring(svg).iter(f"{SVG}rect")]


def test_bars_are_in_proportion() -> None:
    long, short = widths(draw("settled/s", [bar("one", 200.0), bar("other", 100.0)]))

    assert round(long / short, 2) == 2.0


def test_everything_stays_inside_of_the_picture() -> None:
    root = ElementTree.fromstring(draw("settled/s", [bar("one", 200.0)]))
    width = float(root.attrib["viewBox"].split()[2])

    assert all(float(line.attrib["x2"]) < width for line in root.iter(f"{SVG}line"))


def test_titles_are_text_and_no_markup() -> None:
    root = ElementTree.fromstring(draw("a < b & c", [bar("one", 1.0)]))

    assert root.findtext(f"{SVG}title") == "a < b & c"


def test_our_own_bars_stand_out() -> None:
    svg = draw("settled/s", [bar("django_cluster/redis", 2.0), bar("huey/redis", 1.0)])

    assert [each.attrib["class"] for each in ElementTree.fromstring(svg).iter(f"{SVG}rect")] == ["ours", "bar"]


def test_the_best_is_on_top_whichever_way_is_better() -> None:
    visits = [
        Visit(name, "rest", 0, {"settled": value, "idle_pss": value}, (1.0, 1.0), 0.0)
        for name, value in (("small", 1.0), ("large", 9.0))
    ]
    drawn = charts(Results("today", {}, {}, {"small": ("", ""), "large": ("", "")}, visits))

    assert drawn["throughput"].index("large") < drawn["throughput"].index("small")
    assert drawn["memory"].index("small") < drawn["memory"].index("large")
