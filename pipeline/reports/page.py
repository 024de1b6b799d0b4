"""One self-contained page about a run: pictures, scores, timings and the calls that made them."""

import base64
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import psutil

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.reports.accuracy import PixelAccuracy
from rasterloom.pipeline.reports.pictures import Picture

_LIBRARIES = ("rasterloom", "torch", "dask", "rasterio", "zarr", "segmentation-models-pytorch")


@dataclass(frozen=True)
class ViewRow:
    """Pictures of one extent side by side."""

    heading: str
    text: str
    """What is to be seen, in one or two sentences."""
    pictures: tuple[Picture, ...]
    classes: tuple[ClassInfo, ...]
    """For the legend."""
    border: float | None = None
    """Where a line is drawn across the pictures, 0 (top) to 1 (bottom)."""


@dataclass(frozen=True)
class StageTime:
    """How long one part of the run took."""

    name: str
    seconds: float
    note: str
    """What it did, in a few words."""


@dataclass(frozen=True)
class Page:
    """Everything that a report shows."""

    title: str
    lead: str
    """What this is and is not, in plain words."""
    figures: tuple[tuple[str, str], ...]
    """The numbers that matter most: (number, what it is)."""
    views: tuple[ViewRow, ...]
    accuracy: PixelAccuracy
    judged: str
    """Which pixels the scores stand for."""
    training: Picture
    confusion: Picture
    stages: tuple[StageTime, ...]
    outputs: tuple[tuple[str, str], ...]
    """What was written: (path, what it is)."""
    calls: str
    """Python that does the same."""
    environment: Mapping[str, str]


def write_page(page: Page, path: str | Path) -> Path:
    """Write the page as one HTML file that needs nothing else: no network, no scripts, no other files.

    Raises
    ------
    OutputError
        If it cannot be written. What stood there stays.
    """
    final = Path(path)
    part = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        part.write_text(render_page(page), "utf-8")
        part.replace(final)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{final} cannot be written: {error}. Choose a folder that can.") from error
    return final


def rendered(template: str, **values: Any) -> str:
    """A template of this room as HTML text, escaped by default."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"data_uri": _data_uri, "score": _score, "duration": duration, "rgb": _rgb}
    text = files("rasterloom.pipeline.reports").joinpath(template).read_text("utf-8")
    return environment.from_string(text).render(**values)


def render_page(page: Page) -> str:
    """The page as HTML text."""
    longest = max((stage.seconds for stage in page.stages), default=0.0)
    total = sum(stage.seconds for stage in page.stages)
    return rendered("page.html", page=page, longest=longest or 1.0, total=total)


def describe_environment() -> dict[str, str]:
    """Versions and machine, without names of hosts, users or folders."""
    memory = psutil.virtual_memory().total / 2**30
    found = {
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
    }
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a folder that was never installed
            continue
    return found


def duration(seconds: float) -> str:
    """Seconds in words that fit their size: 0.4 s, 12 s, 3 min 20 s."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _data_uri(picture: Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.png).decode()


def _score(value: Any) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _rgb(color: tuple[int, int, int]) -> str:
    return "rgb({} {} {})".format(*color)
