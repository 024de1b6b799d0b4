"""Whatever the cut, every pixel gets the answer of the whole raster at once."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401  gives arrays their .rio
import torch
import xarray
from affine import Affine
from hypothesis import HealthCheck, given, settings, strategies as st

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.inference.arguments import PixelArguments
from rasterloom.pipeline.inference.cell import predict_cell
from rasterloom.pipeline.inference.plan import PixelPlan
from rasterloom.pipeline.inference.predict import PixelPredictor
from rasterloom.pipeline.inference.sizing import cut_cells
from rasterloom.pipeline.inference.thin import REACH
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.raster import Raster
from tests.support.whole import TinyModel, whole_probabilities

MODEL = TinyModel()
ONE_CLASS = TinyModel(classes=(ClassInfo(1, "Edge", (255, 0, 0)),))


def _raster(pixels: np.ndarray, west: float = 500_000.0, north: float = 5_000_000.0) -> Raster:
    array = xarray.DataArray(pixels, dims=("band", "y", "x")).rio.write_crs("EPSG:32633")
    array = array.rio.write_transform(Affine(1, 0, west, 0, -1, north)).rio.write_nodata(0)
    return describe(array)


def _plan(raster: Raster, model: Any, arguments: PixelArguments, **cut: Any) -> PixelPlan:
    cells = cut_cells(
        raster.grid.shape,
        cut.pop("extent", Window(0, 0, *raster.grid.shape)),
        tile=arguments.tile_size,
        padding=arguments.padding,
        whole_tiles=arguments.blend != "crop",
        batch_size=arguments.batch_size,
        **cut,
    )
    return PixelPlan(
        raster=raster,
        cells=cells,
        package="",
        digest="",
        bands=(0, 1),
        values=model.spec.output_values,
        arguments=arguments,
        device="cpu",
    )


def _assembled(plan: PixelPlan, model: Any) -> np.ndarray:
    """All cells of a plan put together, (B, height, width) of the extent."""
    predictor, extent = PixelPredictor(model), plan.cells.extent
    found = plan.decision.nowhere((extent.height, extent.width))
    for row, col in plan.cells.whole.positions():
        window = plan.cells.window(row, col)
        place = replace(window, row=window.row - extent.row, col=window.col - extent.col)
        found[:, *place.slices] = predict_cell(plan, predictor, window)
    return found


@st.composite
def scenes(draw: st.DrawFn) -> np.ndarray:
    """(2, height, width) with rectangles of nodata in it."""
    height, width = draw(st.integers(2, 70)), draw(st.integers(2, 70))
    pixels = np.random.default_rng(draw(st.integers(0, 9))).integers(1, 255, (2, height, width), np.uint8)
    for _ in range(draw(st.integers(0, 3))):
        row, col = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        pixels[:, row : row + draw(st.integers(1, 40)), col : col + draw(st.integers(1, 40))] = 0
    return pixels


@st.composite
def arguments_of(draw: st.DrawFn) -> PixelArguments:
    tile = draw(st.sampled_from([8, 9, 16, 24, 31]))
    return PixelArguments(
        tile_size=tile,
        padding=draw(st.integers(0, tile // 2 - 1)),
        batch_size=draw(st.integers(1, 4)),
        blend=draw(st.sampled_from(["crop", "linear", "gaussian"])),
        test_time_augmentation=draw(st.booleans()),
        merge_policy=draw(st.sampled_from(["mean", "max", "min"])),
        probability="float32",
    )


@given(
    pixels=scenes(),
    arguments=arguments_of(),
    cell_size=st.one_of(st.none(), st.integers(1, 80)),
    origin=st.tuples(st.integers(-999, 999), st.integers(-999, 999)),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_probabilities_are_bit_for_bit_those_of_the_whole_raster(
    pixels: np.ndarray, arguments: PixelArguments, cell_size: int | None, origin: tuple[int, int]
) -> None:
    valid = (pixels != 0).any(axis=0)
    merge = arguments.merge_policy if arguments.test_time_augmentation else None
    whole = whole_probabilities(
        MODEL,
        pixels,
        valid,
        tile=arguments.tile_size,
        padding=arguments.padding,
        batch_size=arguments.batch_size,
        blend=arguments.blend,
        merge=merge,
    )
    found = _assembled(_plan(_raster(pixels, *origin), MODEL, arguments, cell_size=cell_size), MODEL)
    assert np.isnan(found[:, ~valid]).all()
    assert found[:, valid].tobytes() == whole[:, valid].tobytes()


@given(pixels=scenes(), arguments=arguments_of(), data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_part_asked_for_alone_is_that_part_of_the_whole(
    pixels: np.ndarray, arguments: PixelArguments, data: st.DataObject
) -> None:
    height, width = pixels.shape[1:]
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    extent = Window(row, col, data.draw(st.integers(1, height - row)), data.draw(st.integers(1, width - col)))
    raster = _raster(pixels)
    part = _assembled(_plan(raster, MODEL, arguments, cell_size=20, extent=extent), MODEL)
    whole = _assembled(_plan(raster, MODEL, arguments), MODEL)
    assert part.tobytes() == whole[:, *extent.slices].tobytes()


@given(pixels=scenes(), cell_size=st.integers(1, 60), batch_size=st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_thin_lines_are_the_same_however_cut(pixels: np.ndarray, cell_size: int, batch_size: int) -> None:
    arguments = PixelArguments(tile_size=16, padding=4, batch_size=batch_size, thinning=True)
    raster = _raster(pixels)
    cut = _assembled(_plan(raster, ONE_CLASS, arguments, cell_size=cell_size, reach=REACH), ONE_CLASS)
    whole = _assembled(_plan(raster, ONE_CLASS, arguments, cell_size=200, reach=REACH), ONE_CLASS)
    assert cut.tobytes() == whole.tobytes()


def test_quantised_probabilities_are_the_nearest_of_254_steps() -> None:
    pixels = np.random.default_rng(1).integers(1, 255, (2, 40, 50), np.uint8)
    arguments = PixelArguments(tile_size=16, padding=4, batch_size=2, probability="float32")
    exact = _assembled(_plan(_raster(pixels), MODEL, arguments), MODEL)
    small = _assembled(_plan(_raster(pixels), MODEL, replace(arguments, probability="uint8")), MODEL)
    assert np.array_equal(small, np.rint(exact * 254).astype(np.uint8))


@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.7])
def test_a_threshold_gives_a_class_only_where_it_is_that_probable(threshold: float) -> None:
    pixels = np.random.default_rng(2).integers(1, 255, (2, 40, 50), np.uint8)
    arguments = PixelArguments(tile_size=16, padding=4, batch_size=2, threshold=threshold)
    probable = _assembled(
        _plan(_raster(pixels), MODEL, replace(arguments, threshold=None, probability="float32")), MODEL
    )
    best = probable[1:].max(axis=0)
    expected = np.where(best >= threshold, probable[1:].argmax(axis=0) + 1, 0)
    found = _assembled(_plan(_raster(pixels), MODEL, arguments), MODEL)[0]
    assert np.array_equal(found, expected)
    assert len(np.unique(found)) > 1


def test_without_background_the_next_best_class_wins() -> None:
    pixels = np.random.default_rng(3).integers(1, 255, (2, 40, 50), np.uint8)
    arguments = PixelArguments(tile_size=16, padding=4, batch_size=2, predict_background=False)
    probable = _assembled(
        _plan(
            _raster(pixels),
            MODEL,
            PixelArguments(tile_size=16, padding=4, batch_size=2, probability="float32"),
        ),
        MODEL,
    )
    found = _assembled(_plan(_raster(pixels), MODEL, arguments), MODEL)[0]
    assert np.array_equal(found, probable[1:].argmax(axis=0) + 1)


def test_half_the_chips_go_through_when_memory_runs_out_and_that_is_remembered() -> None:
    pixels = np.random.default_rng(4).integers(1, 255, (2, 40, 50), np.uint8)
    arguments = PixelArguments(tile_size=16, padding=4, batch_size=8)
    plan = _plan(_raster(pixels), MODEL, arguments)
    expected = _assembled(plan, MODEL)
    predictor, network, seen = PixelPredictor(MODEL), MODEL.network, []

    def small(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return network(images)

    predictor.network = small
    found = predict_cell(plan, predictor, plan.cells.window(0, 0))
    window = plan.cells.window(0, 0)
    assert np.array_equal(found, expected[:, *window.slices])
    assert seen[:3] == [8, 4, 2]
    assert set(seen[3:]) == {2}
    assert predictor.most_chips == 2


def test_a_chip_that_never_fits_is_an_error_that_says_what_to_do() -> None:
    predictor = PixelPredictor(MODEL)

    def full(images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    predictor.network = full
    chips, valid = np.zeros((2, 2, 16, 16), np.uint8), np.ones((2, 16, 16), bool)
    with pytest.raises(MemoryError, match="one chip of 16 pixels does not fit"):
        predictor.predict(chips, valid, centre=slice(0, 16))


def test_an_error_of_the_network_is_not_taken_for_a_lack_of_memory() -> None:
    predictor = PixelPredictor(MODEL)
    chips, valid = np.zeros((2, 5, 16, 16), np.uint8), np.ones((2, 16, 16), bool)
    with pytest.raises(RuntimeError, match="size of tensor"):
        predictor.predict(chips, valid, centre=slice(0, 16))
