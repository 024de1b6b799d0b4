"""The page that a report is."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.metrics.pixels import Confusion
from rasterloom.pipeline.reports.accuracy import PixelAccuracy
from rasterloom.pipeline.reports.page import (
    Page,
    StageTime,
    ViewRow,
    describe_environment,
    duration,
    render_page,
    write_page,
)
from rasterloom.pipeline.reports.pictures import Picture

PICTURE = Picture(b"\x89PNG", "what it shows", "Scene", 3, 2)


def some_page() -> Page:
    classes = (ClassInfo(1, "Roof <b>", (200, 0, 0)), ClassInfo(2, "Road", (9, 9, 9)))
    accuracy = PixelAccuracy(Confusion((1, 2), np.array([[9, 1], [0, 0]])), classes, False, 0.0)
    return Page(
        title="A map of roofs & roads",
        lead="Generated.",
        figures=(("0.9", "mean IoU"),),
        views=(ViewRow("Whole", "All of it.", (PICTURE,) * 3, classes, 0.75),),
        accuracy=accuracy,
        judged="10 pixels.",
        training=PICTURE,
        confusion=PICTURE,
        stages=(StageTime("Map", 61.0, "<script>alert(1)</script>"),),
        outputs=(("map.tif", "the map"),),
        calls='print("<hello>")',
        environment=describe_environment(),
    )


class Elements(HTMLParser):
    """All start tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    elements = Elements(render_page(some_page())).found
    links = [a[key] for _, a in elements for key in ("src", "href") if key in a]
    assert links
    assert all(str(link).startswith("data:") for link in links)
    assert "script" not in {tag for tag, _ in elements}


def test_every_picture_has_words_and_a_size() -> None:
    pictures = [a for tag, a in Elements(render_page(some_page())).found if tag == "img"]
    assert len(pictures) == 5
    assert all(a["alt"] == "what it shows" and a["width"] == "3" and a["height"] == "2" for a in pictures)


def test_what_comes_from_outside_is_escaped() -> None:
    text = render_page(some_page())
    assert "Roof &lt;b&gt;" in text
    assert "&lt;script&gt;" in text
    assert "roofs &amp; roads" in text
    assert "&lt;hello&gt;" in text


def test_the_page_names_no_folder_of_this_machine() -> None:
    assert str(Path.home()) not in render_page(replace(some_page(), calls=""))


def test_the_page_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write_page(some_page(), tmp_path / "report.html")
    assert path.read_text("utf-8").rstrip().endswith("</html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(OutputError, match="cannot be written"):
        write_page(some_page(), tmp_path / "absent" / "report.html")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s")],
)
def test_times_are_told_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
