"""Chips and class maps as pictures."""

import sys
from collections.abc import Sequence
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


def draw_chips(
    figure: "Figure",
    images: np.ndarray,
    targets: np.ndarray,
    *,
    bands: Sequence[str],
    classes: Sequence[ClassInfo],
    alpha: float = 0.45,
    **stretch: Any,
) -> None:
    """Fill the figure's panels with chips, their classes laid over them.

    Parameters
    ----------
    images, targets
        (N, C, H, W) in any units and class positions (N, H, W).
    alpha
        Opacity of the classes, 0..1; pixels without a class stay clear.
    stretch
        Settings of :func:`true_color`.
    """
    check_stretch(stretch)
    background = 0 not in {c.value for c in classes}
    for panel, image, target in zip(figure.axes, images, targets, strict=False):
        panel.imshow(true_color(image, bands=bands, **stretch), interpolation="nearest")
        _overlay(panel, target, classes, clear=background, alpha=alpha)
    add_legend(figure, classes)


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


def _overlay(
    panel: "Axes", target: np.ndarray, classes: Sequence[ClassInfo], *, clear: bool, alpha: float
) -> None:
    colors = class_colors(target, classes)
    opacity = np.where((target == 0) & clear, 0.0, alpha)[..., None]
    panel.imshow(np.concatenate([colors, opacity], axis=-1), interpolation="nearest")


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
