"""Two rasters are read as one, and a pixel counts where both hold something."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from rasterloom.models.errors import ReadError, SettingError
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe, open_raster
from rasterloom.pipeline.rasters.origins import origins_of
from rasterloom.pipeline.rasters.pairs import Pair, paired
from rasterloom.pipeline.rasters.pinned import pinned
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.read import read_padded, read_window
from tests.support.rasters import write_raster

HEIGHT, WIDTH = 70, 90


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    first = write_raster(folder / "first.tif", height=HEIGHT, width=WIDTH, bands=2)
    second = write_raster(
        folder / "second.tif", height=HEIGHT, width=WIDTH, bands=3, dtype="int16", nodata=-1.0, seed=1
    )
    return first, second


def _pair(both: tuple[Path, Path]) -> Raster:
    return paired(describe(both[0]), describe(both[1]))


@given(
    row=st.integers(-20, HEIGHT),
    col=st.integers(-20, WIDTH),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    bands=st.lists(st.integers(0, 4), min_size=1, max_size=6),
)
def test_any_window_and_bands_are_those_of_the_two_rasters(
    row: int, col: int, height: int, width: int, bands: list[int], both: tuple[Path, Path]
) -> None:
    window = Window(row, col, height, width)
    found, valid = read_padded(_pair(both), window, bands)
    first, second = describe(both[0]), describe(both[1])
    expected, holds = np.empty((len(bands), height, width), np.int16), np.ones((height, width), bool)
    for place, band in enumerate(bands):
        pixels, seen = read_padded(first if band < 2 else second, window, [band if band < 2 else band - 2])
        expected[place] = pixels[0]
        holds &= seen
    assert found.dtype == np.int16
    assert (found == expected).all()
    assert (valid == holds).all()


def test_a_pixel_is_valid_where_it_is_in_both(both: tuple[Path, Path]) -> None:
    pair = _pair(both)
    _, valid = read_window(pair, Window(0, 0, HEIGHT, WIDTH))
    _, alone = read_window(describe(both[1]), Window(0, 0, HEIGHT, WIDTH))
    assert 0 < valid.sum() < valid.size
    assert (valid == alone).all()
    assert pair.bands == (*describe(both[0]).bands, *describe(both[1]).bands)
    assert pair.dtype == "int16"


def test_each_is_resampled_by_itself(both: tuple[Path, Path]) -> None:
    first = describe(both[0])
    grid = first.grid.regridded(cell_size=(2.0, 2.0))
    parts = first.on_grid(grid, resampling="average"), describe(both[1]).on_grid(grid, resampling="nearest")
    found, _ = read_window(paired(*parts), Window(3, 4, 20, 25))
    expected = np.concatenate([read_window(part, Window(3, 4, 20, 25))[0] for part in parts])
    assert (found == expected).all()


def test_rasters_on_different_grids_are_refused(both: tuple[Path, Path]) -> None:
    other = describe(both[1])
    shifted = other.on_grid(other.grid.cropped(Window(1, 0, HEIGHT - 1, WIDTH)))
    with pytest.raises(SettingError, match=r"different grids: bring one onto the grid of the other"):
        paired(describe(both[0]), shifted)


def test_the_token_tells_order_and_resampling_apart(both: tuple[Path, Path]) -> None:
    first, second = describe(both[0]), describe(both[1])
    grid = first.grid.regridded(cell_size=(2.0, 2.0))
    smooth, rough = (second.on_grid(grid, resampling=how) for how in ("bilinear", "nearest"))
    tokens = {
        paired(*parts).etag
        for parts in (
            (first, second),
            (second, first),
            (first.on_grid(grid), smooth),
            (first.on_grid(grid), rough),
        )
    }
    assert len(tokens) == 4


def test_nothing_is_written_over_either_of_them(both: tuple[Path, Path]) -> None:
    assert origins_of(_pair(both)) == {str(path.resolve()) for path in both}


def test_both_dates_in_memory_are_put_where_tasks_reach_them(both: tuple[Path, Path], tmp_path: Path) -> None:
    computed = open_raster(both[0], chunks=32) + 0
    in_memory = (open_raster(both[1]) + 0).compute()
    pair = paired(describe(computed), describe(in_memory))
    # what a plan names travels to workers pickled
    placed = pickle.loads(pickle.dumps(pinned(pair, tmp_path)))
    assert len(pickle.dumps(placed)) < 10_000
    window = Window(5, 6, 50, 60)
    for found, expected in zip(read_window(placed, window), read_window(pair, window), strict=True):
        assert (found == expected).all()


def test_two_recipes_are_each_loaded_once(
    both: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cloudpickle

    from rasterloom.pipeline.rasters import pinned as pinned_module

    monkeypatch.setattr(pinned_module, "_loaded", {})
    parts = [describe(open_raster(path, chunks=32) + 0) for path in both]
    placed = pinned(paired(*parts), tmp_path)
    loads: list[bytes] = []
    load = cloudpickle.loads  # how a worker reads a part that has no file; here it is counted
    monkeypatch.setattr(cloudpickle, "loads", lambda content: loads.append(content) or load(content))
    for row in range(0, 40, 10):
        read_window(placed, Window(row, 0, 10, 20))
    assert len(loads) == 2


def test_an_unreadable_date_is_named_once(both: tuple[Path, Path], tmp_path: Path) -> None:
    whole = write_raster(tmp_path / "cut.tif", height=HEIGHT, width=WIDTH)
    pair = paired(describe(both[0]), describe(whole))
    whole.write_bytes(whole.read_bytes()[:400])
    with pytest.raises(ReadError, match=r"cut.tif") as caught:
        read_window(pair, Window(0, 0, HEIGHT, WIDTH))
    assert str(caught.value).count("could not be read") == 1


def test_a_pair_is_small_to_send(both: tuple[Path, Path]) -> None:
    pair = _pair(both)
    assert isinstance(pair.array, Pair)
    # as on the way to a worker
    again = pickle.loads(pickle.dumps(pair))
    assert again == pair
    assert replace(again, name="other") != pair
