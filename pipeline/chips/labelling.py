"""Labels of chips: class of each pixel, objects, and the class of a whole chip."""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import shapely

from rasterloom.pipeline.chips.pixels import read_chips
from rasterloom.pipeline.chips.places import chip_grid, corners, strips, window_of
from rasterloom.pipeline.chips.plan import Cutting
from rasterloom.pipeline.chips.sources import ChipSource
from rasterloom.pipeline.labels.burn import burn
from rasterloom.pipeline.labels.features import Labels
from rasterloom.pipeline.labels.objects import Objects, instances_of, objects_of_chips, regions_of
from rasterloom.pipeline.labels.prepared import Prepared, read_prepared
from rasterloom.pipeline.labels.scenes import classes_present, main_class
from rasterloom.pipeline.rasters.grid import Bounds, Grid, Window
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.store.layout import StoreSpec

TOGETHER = 64
"""Chips that are labelled at once: only the features on their ground are held."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labels of some chips, as far as their format has them."""

    masks: np.ndarray | None
    objects: Objects | None
    labels: np.ndarray | None
    shown: np.ndarray | None
    """Pixels that stay where the others are blackened, bool (n, H, W)."""


def label_chips(source: ChipSource, chips: np.ndarray, cutting: Cutting, spec: StoreSpec) -> Labelled:
    """The labels of chips of one source. Those of one chip do not depend on the others.

    Parameters
    ----------
    chips
        Table of ``CHIP``.
    spec
        Of what the chips are written to.
    """
    kind, parts = spec.kind, []
    for start in range(0, len(chips), TOGETHER):
        made = Labelling(source, chips[start : start + TOGETHER], cutting, spec)
        parts.append(
            Labelled(
                made.masks if kind.masks else None,
                made.objects if kind.objects else None,
                made.labels if kind.labels else None,
                made.shown if cutting.blacken else None,
            )
        )
    objects = [part.objects for part in parts if part.objects is not None]
    return Labelled(
        _joined([part.masks for part in parts]),
        Objects.joined(objects) if objects else None,
        _joined([part.labels for part in parts]),
        _joined([part.shown for part in parts]),
    )


def _joined(parts: list[np.ndarray | None]) -> np.ndarray | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if arrays else None


@dataclass(frozen=True, eq=False)
class Labelling:
    """The labels of some chips of one source; only what is asked for is made."""

    source: ChipSource
    chips: np.ndarray
    """Table of ``CHIP``."""
    cutting: Cutting
    spec: StoreSpec
    """Of what the chips are written to."""

    @cached_property
    def masks(self) -> np.ndarray:
        """Class value of each pixel, (n, H, W)."""
        dtype = self.spec.mask_dtype or "uint16"
        if self.source.class_map is not None:
            return self._of_map(self.source.class_map).astype(dtype)
        masks = np.zeros((len(self.chips), *self.cutting.tile), dtype)
        if self.source.features is None or not len(self._features):
            return masks
        if self.cutting.min_share:
            self._burn_each(masks)
        else:
            self._burn_strips(masks)
        return masks

    @cached_property
    def objects(self) -> Objects:
        """With outlines where the format has them."""
        outlines = self.spec.kind.outlines
        if self.spec.kind.masks:  # the objects are the second kind of labels
            if self.source.instance_map is not None:
                numbers = self._of_map(self.source.instance_map)
                return instances_of(numbers, None, self._pixel_area)
            return self._clipped(self._instances, outlines=outlines)
        return self._labelled_objects(outlines=outlines)

    @cached_property
    def labels(self) -> np.ndarray:
        """Class value of each chip, (n,), or whether each class occurs in it, (n, K)."""
        if self.cutting.centred:
            return np.ascontiguousarray(self.chips["value"])
        by_pixels = self.source.class_map is not None
        if not self.spec.kind.several_labels:
            return np.asarray(main_class(self.masks), np.int64)
        found = self.masks if by_pixels else self._labelled_objects(outlines=False)
        return np.asarray(classes_present(found, [c.value for c in self.spec.classes]), np.uint8)

    @cached_property
    def shown(self) -> np.ndarray:
        """Pixels of what gives a chip its class, bool (n, H, W); the others are blackened."""
        if not self.cutting.centred:
            return (self.masks == self.labels[:, None, None]) & (self.masks > 0)
        shown = np.zeros((len(self.chips), *self.cutting.tile), bool)
        place = np.searchsorted(self._features.positions, self.chips["feature"])
        for number, chip in enumerate(self.chips):
            own = Labels(
                self._features.geometries[place[number] : place[number] + 1],
                np.ones(1, np.int64),
                self._features.classes,
            )
            grid = chip_grid(self._grid, chip, self.cutting.angle)
            burned = burn(own, grid, Window(0, 0, *grid.shape))
            shown[number, : grid.height, : grid.width] = burned > 0
        return shown

    @property
    def _grid(self) -> Grid:
        return self.source.raster.grid

    @property
    def _pixel_area(self) -> float:
        a, b, _, d, e, _ = self._grid.transform
        return abs(a * e - b * d)

    @cached_property
    def _features(self) -> Labels:
        return self._near(self.source.features)

    @cached_property
    def _instances(self) -> Labels:
        return self._near(self.source.instances)

    def _near(self, prepared: Prepared | None) -> Labels:
        """The features on the ground of these chips."""
        if prepared is None:
            return Labels(np.zeros(0, object), np.zeros(0, np.int64), ())
        return read_prepared(prepared.path, self._ground)

    @cached_property
    def _ground(self) -> Bounds:
        places = corners(self.chips, self._grid, self.cutting.angle).reshape(-1, 2)
        (west, south), (east, north) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
        # of turned chips the corners are computed in another way than the pixels
        spare = 1e-3 * max(self._grid.cell_size)
        return west - spare, south - spare, east + spare, north + spare

    def _of_map(self, class_map: Raster) -> np.ndarray:
        pixels, valid = read_chips(
            class_map, self.chips, self.cutting.tile, angle=self.cutting.angle, nearest=True
        )
        values = np.where(valid, pixels[:, 0], 0)
        return values if values.dtype.kind in "iu" else values.astype(np.int64)

    def _labelled_objects(self, *, outlines: bool) -> Objects:
        if self.source.class_map is not None:
            return regions_of(self.masks, self._pixel_area)
        return self._clipped(self._features, outlines=outlines)

    def _clipped(self, features: Labels, *, outlines: bool) -> Objects:
        if not len(features):
            return Objects.none(len(self.chips), outlines=outlines)
        find = partial(objects_of_chips, min_share=self.cutting.min_share, outlines=outlines)
        turned = self.chips["turn"] > 0
        windows = [window_of(chip) for chip in self.chips[~turned]]
        parts = [find(features, self._grid, windows)]
        for chip in self.chips[turned]:
            grid = chip_grid(self._grid, chip, self.cutting.angle)
            parts.append(find(features, grid, [Window(0, 0, *grid.shape)]))
        if len(parts) == 1:
            return parts[0]
        order = np.concatenate([np.flatnonzero(~turned), np.flatnonzero(turned)])
        return Objects.joined(parts).of(np.argsort(order))

    def _burn_strips(self, masks: np.ndarray) -> None:
        for positions, around in strips(self.chips):
            burned = burn(self._features, self._grid, around, str(masks.dtype))
            for chip in positions.tolist():
                window = window_of(self.chips[chip])
                col = window.col - around.col
                masks[chip, : window.height, : window.width] = burned[:, col : col + window.width]
        for chip in np.flatnonzero(self.chips["turn"]).tolist():
            self._burn_chip(masks, chip, self._features)

    def _burn_each(self, masks: np.ndarray) -> None:
        """Chip by chip, only the features that lie in it as far as they must."""
        features = self._features
        objects = self._clipped(features, outlines=False)
        # lines and points have no share that could be too small
        without_area = shapely.area(features.geometries) == 0
        for chip in range(len(self.chips)):
            own = objects.features[objects.starts[chip] : objects.starts[chip + 1]]
            kept = np.flatnonzero(np.isin(features.positions, own) | without_area)
            some = Labels(
                features.geometries[kept], features.values[kept], features.classes, features.positions[kept]
            )
            if len(some):
                self._burn_chip(masks, chip, some)

    def _burn_chip(self, masks: np.ndarray, chip: int, features: Labels) -> None:
        if self.chips["turn"][chip]:
            grid = chip_grid(self._grid, self.chips[chip], self.cutting.angle)
            window = Window(0, 0, *grid.shape)
        else:
            grid, window = self._grid, window_of(self.chips[chip])
        burned = burn(features, grid, window, str(masks.dtype))
        masks[chip, : window.height, : window.width] = burned
