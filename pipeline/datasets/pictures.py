"""Chips and class maps as pictures."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NO_CLASS = (60, 60, 60)
"""Colour of pixels without a class in class maps."""
_VISIBLE = ("red", "green", "blue")


def new_figure(*, rows: int, columns: int, side: float = 2.6, titles: Sequence[str] = ()) -> "Figure":
    """An empty figure of picture panels without axes, in inches; a notebook shows what a cell returns.

    It is made without a window system and is not kept open, so nothing has to be closed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(side * columns, side * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    for panel, title in zip(panels[0], titles, strict=False):
        panel.set_title(title)
    show_in_notebook()
    return figure


def show_in_notebook() -> None:
    """Let a notebook draw figures that were made without pyplot; does nothing elsewhere."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython
    from IPython.core.pylabtools import select_figure_formats

    if (shell := get_ipython()) is not None:
        select_figure_formats(shell, {"png"})  # type: ignore[no-untyped-call] # IPython ships untyped


def true_color(
    image: np.ndarray,
    *,
    bands: Sequence[str],
    rgb_bands: Sequence[str | int] | None = None,
    statistics_percent: tuple[float, float] = (2.0, 98.0),
) -> np.ndarray:
    """An image (C, H, W) in any units as a picture (H, W, 3), 0..1.

    Parameters
    ----------
    rgb_bands
        Three band names or 0-based positions; None takes those called red, green and blue, else the first
        three, else the first one in grey.
    statistics_percent
        Percentiles of each shown band that become black and white; (0, 100) is the full range.

    Raises
    ------
    SettingError
        If a band does not exist or the percentiles are not in order.
    """
    low, high = statistics_percent
    if not 0 <= low < high <= 100:
        raise SettingError(
            f"statistics_percent={statistics_percent} cannot work: use two rising numbers, as (2, 98)."
        )
    picture = image[list(_shown(bands, rgb_bands))].astype(np.float32)
    black, white = np.percentile(picture, (low, high), axis=(1, 2))[:, :, None, None]
    stretched = (picture - black) / np.maximum(white - black, 1e-6)
    return np.moveaxis(stretched.clip(0, 1), 0, -1)


def class_colors(targets: np.ndarray, classes: Sequence[ClassInfo]) -> np.ndarray:
    """Class positions (H, W) as their colours (H, W, 3), 0..1; 0 is dark grey unless it is a class."""
    named = {c.value: c.color for c in classes}
    table = [named.get(0, _NO_CLASS), *(named[value] for value in sorted(named) if value != 0)]
    return (np.asarray(table, np.float32) / 255)[targets]


def add_legend(figure: "Figure", classes: Sequence[ClassInfo]) -> None:
    """Name the classes below the panels, at most 40 of them."""
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=np.asarray(c.color) / 255, label=c.name) for c in classes[:40]]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(6, len(patches)), frameon=False)


def chip_picture(panel: "Axes", image: np.ndarray, bands: Sequence[str], **stretch: Any) -> None:
    """A chip (C, H, W) in any units on a panel; settings as for :func:`true_color`."""
    panel.imshow(true_color(image, bands=bands, **stretch), interpolation="nearest")


def overlay_classes(panel: "Axes", target: np.ndarray, classes: Sequence[ClassInfo], *, alpha: float) -> None:
    """Lay class positions (H, W) over a chip; pixels without a class stay clear."""
    clear = 0 not in {c.value for c in classes}
    opacity = np.where((target == 0) & clear, 0.0, alpha)[..., None]
    panel.imshow(np.concatenate([class_colors(target, classes), opacity], axis=-1), interpolation="nearest")


def overlay_objects(
    panel: "Axes", target: Mapping[str, Any], classes: Sequence[ClassInfo], *, alpha: float
) -> None:
    """Lay the objects of a chip over it: boxes as frames, outlines as filled shapes with an edge.

    Parameters
    ----------
    target
        ``boxes`` (k, 4) xyxy in pixels, ``labels`` (k,) from 1, and perhaps ``masks`` (k, H, W).
    classes
        The class of label 1 first.
    """
    from matplotlib.patches import Rectangle

    colors = [np.asarray(classes[int(label) - 1].color) / 255 for label in target["labels"]]
    if "masks" in target:
        if len(colors):
            panel.imshow(_shapes(np.asarray(target["masks"]) > 0, colors, alpha), interpolation="nearest")
        return
    for (left, top, right, bottom), color in zip(target["boxes"].tolist(), colors, strict=True):
        # pixel centres are whole numbers in matplotlib
        corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
        panel.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=2.4, alpha=0.5))
        panel.add_patch(Rectangle(corner, *size, fill=False, edgecolor=color, linewidth=1.2))


def short_title(panel: "Axes", text: str) -> None:
    """A title that stays within its panel."""
    panel.set_title(text if len(text) <= 30 else text[:29] + "…", fontsize=9)


def check_stretch(given: dict[str, Any]) -> None:
    """Refuse picture settings that do not exist.

    Raises
    ------
    SettingError
        Lists the known ones.
    """
    known = ("rgb_bands", "statistics_percent", "alpha")
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise SettingError(f"pictures do not know {', '.join(unknown)}: they take {', '.join(known)}.")


def _shapes(masks: np.ndarray, colors: Sequence[np.ndarray], alpha: float) -> np.ndarray:
    """(H, W, 4) picture of outlines (k, H, W), the later ones above; edges are opaque."""
    picture = np.zeros((*masks.shape[1:], 4), np.float32)
    for mask, color in zip(masks, colors, strict=True):
        inner = np.pad(mask, 1)
        inner = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:] & mask
        picture[mask, :3] = color
        picture[mask, 3] = alpha
        # darker than the shape, so that neighbours of one class stay apart
        picture[mask & ~inner] = (*(color * 0.5), 1.0)
    return picture


def _shown(bands: Sequence[str], chosen: Sequence[str | int] | None) -> tuple[int, ...]:
    if chosen is not None:
        if len(chosen) not in (1, 3):
            raise SettingError(
                f"rgb_bands={list(chosen)} cannot be shown: give three bands, or one for grey."
            )
        picked = tuple(band_position(band, bands) for band in chosen)
        return picked * 3 if len(picked) == 1 else picked
    lower = [band.lower() for band in bands]
    if all(name in lower for name in _VISIBLE):
        return tuple(lower.index(name) for name in _VISIBLE)
    return (0, 1, 2) if len(bands) >= 3 else (0, 0, 0)


def band_position(band: str | int, bands: Sequence[str]) -> int:
    """0-based position of a band that is given by name (in any case) or by position.

    Raises
    ------
    SettingError
        If there is no such band; lists the bands.
    """
    lower = [name.lower() for name in bands]
    if isinstance(band, str) and band.lower() in lower:
        return lower.index(band.lower())
    if isinstance(band, int) and 0 <= band < len(bands):
        return band
    raise SettingError(
        f"there is no band {band!r}: the bands are {list(bands)}, positions 0 to {len(bands) - 1}."
    )
