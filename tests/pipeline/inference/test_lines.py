"""Lines are those of the whole raster, however it is cut and whoever works on it."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings, strategies as st
from scipy import ndimage

from rasterloom.models.errors import OutputExistsError, SettingError, TooManyFailures
from rasterloom.pipeline import extract_lines
from rasterloom.pipeline.inference.cells import CellBlock
from rasterloom.pipeline.inference.lines_bodies import large_bodies
from tests.support.lines import bodies, naive_lines, strokes
from tests.support.rasters import break_block, write_pixels

ORIGIN = (500000.0, 5000000.0)


def _probabilities(body: np.ndarray, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.where(body, random.uniform(0.5, 1.0, body.shape), random.uniform(0, 0.49, body.shape))[None]


def _write(path: Path, body: np.ndarray, *, cell: float = 1.0, crs: str = "EPSG:32633") -> Path:
    return write_pixels(path, _probabilities(body).astype("float32"), cell=cell, crs=crs, origin=ORIGIN)


def _bytes(raster: Path, **wishes: Any) -> bytes:
    output = raster.with_suffix(".parquet")
    extract_lines(raster, output, overwrite=True, progress=False, **wishes)
    return output.read_bytes()


def _without_small(body: np.ndarray, least: float) -> np.ndarray:
    number, _ = ndimage.label(body, np.ones((3, 3)))
    size = np.bincount(number.reshape(-1))
    size[0] = 0
    return np.asarray((size >= max(least, 1))[number])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=bodies(40),
    cells=st.sampled_from([9, 16, 100]),
    least=st.sampled_from([0.0, 6.0]),
    area=st.sampled_from([0.0, 20.0]),
    workers=st.sampled_from([1, 3]),
)
def test_the_lines_are_those_of_the_whole_raster(
    tmp_path: Path, body: np.ndarray, cells: int, least: float, area: float, workers: int
) -> None:
    raster = _write(tmp_path / "raster.tif", body)
    output = extract_lines(
        raster,
        tmp_path / "lines.parquet",
        minimum_length=least,
        minimum_area=area,
        simplify=0,
        cell_size=cells,
        context={"parallelProcessingFactor": workers},
        overwrite=True,
        progress=False,
    )
    found = geopandas.read_parquet(output)
    wide = 2 * ndimage.distance_transform_edt(np.pad(body, 1))[1:-1, 1:-1] - 0.5
    share = _probabilities(body)[0]
    wanted = []
    for line in naive_lines(_without_small(body, area), least):
        rows, cols = np.array(line["pixels"]).T
        places = np.array(line["points"])
        points = np.stack([ORIGIN[0] + places[:, 1] + 0.5, ORIGIN[1] - places[:, 0] - 0.5], axis=1)
        wanted.append((line["from"], line["to"], wide[rows, cols].mean(), share[rows, cols].mean(), points))
    rows = found[["FromNode", "ToNode", "Width", "MeanProbability", "geometry"]].itertuples(index=False)
    ordered = sorted((tuple(row) for row in rows), key=_key)
    assert len(ordered) == len(wanted)
    for one, other in zip(ordered, sorted(wanted, key=_key), strict=True):
        assert one[:2] == other[:2]
        assert one[2:4] == pytest.approx(other[2:4], abs=1e-5)
        assert shapely.hausdorff_distance(one[4], shapely.linestrings(other[4])) < 1e-6
    assert (found["Length"] == found.length).all()
    assert found["OID"].tolist() == list(range(1, len(found) + 1))


def _key(line: Any) -> tuple[int, int, int, int]:
    return line[0], line[1], round(1000 * line[2]), round(1000 * line[3])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Strokes, and one body so wide that thinning it takes more than one turn."""
    body = strokes(np.random.default_rng(5), (190, 230), 14)
    body[20:170, 40:200] = True
    body[90, 120] = False
    return _write(tmp_path_factory.mktemp("lines") / "scene.tif", body, cell=2.0)


@pytest.fixture(scope="module")
def whole(scene: Path) -> bytes:
    return _bytes(scene, cell_size=1000, minimum_length=12, minimum_area=60, smooth=True)


@pytest.mark.parametrize("cells", [40, 97])
def test_bodies_of_any_width_give_the_same_bytes_however_they_are_cut(
    scene: Path, whole: bytes, cells: int
) -> None:
    assert _bytes(scene, cell_size=cells, minimum_length=12, minimum_area=60, smooth=True) == whole


def test_workers_give_the_same_bytes(scene: Path, whole: bytes, client: Any) -> None:
    wishes = {"minimum_length": 12, "minimum_area": 60, "smooth": True}
    assert _bytes(scene, client=client, cell_size=97, **wishes) == whole


def test_a_raster_of_classes_has_lines_of_its_class(tmp_path: Path) -> None:
    classes = np.full((1, 30, 40), 3, "uint8")
    classes[0, 14:17, 2:38] = 7
    classes[0, 2:28, 20] = 5
    raster = write_pixels(tmp_path / "classes.tif", classes, nodata=255)
    lines = geopandas.read_parquet(extract_lines(raster, class_value=7, progress=False))
    assert "MeanProbability" not in lines
    assert len(lines) == 2  # the other class cuts it
    both = extract_lines(raster, tmp_path / "both.gpkg", class_value=[5, 7], progress=False)
    assert len(geopandas.read_file(both)) == 4
    assert lines["Width"].tolist() == [3.5, 3.5]  # to half a pixel


def test_stored_shares_are_read_by_their_scale(tmp_path: Path) -> None:
    shares = np.zeros((1, 20, 40), "uint8")
    shares[0, 10, 2:38] = 127  # a half
    shares[0, 5, 2:38] = 126
    shares[0, 15, 2:38] = 255  # nothing is known
    raster = write_pixels(tmp_path / "shares.tif", shares, nodata=255)
    lines = geopandas.read_parquet(extract_lines(raster, progress=False))
    assert lines["MeanProbability"].tolist() == pytest.approx([0.5])
    assert lines["Length"].tolist() == [35.0]


def test_what_lies_beyond_an_extent_or_a_mask_is_not_there(tmp_path: Path) -> None:
    body = np.zeros((30, 60), bool)
    body[15] = True
    raster = _write(tmp_path / "raster.tif", body)
    x, y = ORIGIN
    context = {"extent": (x + 10, y - 30, x + 40, y)}
    part = geopandas.read_parquet(extract_lines(raster, context=context, progress=False, cell_size=8))
    assert part.total_bounds.tolist() == [x + 10.5, y - 15.5, x + 39.5, y - 15.5]
    box = geopandas.GeoDataFrame(geometry=[shapely.box(x + 20, y - 30, x + 33, y)], crs=32633)
    inside = extract_lines(raster, context=context | {"mask": box}, progress=False, overwrite=True)
    assert geopandas.read_parquet(inside).total_bounds[[0, 2]].tolist() == [x + 20.5, x + 32.5]
    assert part["FromNode"].tolist() == [15 * 60 + 10]


def test_lengths_on_a_globe_are_in_metres(tmp_path: Path) -> None:
    degree = 1e-5
    body = np.zeros((40, 60), bool)
    body[20, 10:51] = True
    path = write_pixels(
        tmp_path / "globe.tif",
        _probabilities(body).astype("float32"),
        crs="EPSG:4326",
        cell=degree,
        origin=(10, 60),
    )
    (line,) = geopandas.read_parquet(extract_lines(path, progress=False)).itertuples()
    metric = geopandas.GeoSeries([line.geometry], crs=4326).to_crs(32632).length.item()
    assert line.Length == pytest.approx(metric, rel=1e-3)
    assert line.Length == pytest.approx(40 * degree * 55_800, rel=1e-2)
    path_short = extract_lines(path, tmp_path / "none.parquet", minimum_length=23, progress=False)
    assert not len(geopandas.read_parquet(path_short))


def test_nothing_gives_an_empty_layer_with_all_fields(tmp_path: Path) -> None:
    raster = _write(tmp_path / "raster.tif", np.zeros((20, 20), bool))
    lines = geopandas.read_parquet(extract_lines(raster, progress=False))
    assert not len(lines)
    assert {"OID", "Length", "Width", "FromNode", "ToNode", "MeanProbability"} <= set(lines.columns)
    with pytest.raises(OutputExistsError):
        extract_lines(raster, progress=False)


def test_what_cannot_be_read_ends_the_run_or_is_told(tmp_path: Path) -> None:
    body = np.zeros((192, 192), bool)
    body[30] = True  # no cell of this row reads as far as the broken block
    body[150, 141:191] = True
    raster = _write(tmp_path / "raster.tif", body)
    good = raster.read_bytes()
    break_block(raster, row=2, col=2)
    wishes: dict[str, Any] = {"cell_size": 64, "progress": False, "overwrite": True}
    with pytest.raises(TooManyFailures):
        extract_lines(raster, tmp_path / "lines.parquet", max_failed=0.1, **wishes)
    with pytest.warns(UserWarning, match="4 of 9 cells could not be read") as told:
        extract_lines(raster, tmp_path / "lines.parquet", max_failed=1.0, **wishes)
    assert geopandas.read_parquet(tmp_path / "lines.parquet")["Length"].tolist() == [191.0]
    assert told[0].filename == __file__
    raster.write_bytes(good)
    extract_lines(raster, tmp_path / "lines.parquet", **wishes)
    assert geopandas.read_parquet(tmp_path / "lines.parquet")["Length"].tolist() == [191.0, 49.0]


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"threshold": 0}, "no probability to reach"),
        ({"threshold": 0.5, "class_value": 1}, "give one of them"),
        ({"class_value": "road"}, "is no class"),
        ({"band": 2}, "has no band 2"),
        ({"band": "red"}, "is no number of a band"),
        ({"minimum_length": -1}, "use 0 or a positive number"),
        ({"simplify": "x"}, "use 0 or a positive number"),
        ({"cell_size": 0}, "use a positive number of pixels"),
        ({"context": {"cellSize": 2}}, "known are"),
        ({"output_name": "lines.tif"}, "no vector format"),
        ({"unknown": 1}, "has no argument 'unknown'"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_computed(
    tmp_path: Path, wishes: dict[str, Any], message: str
) -> None:
    raster = _write(tmp_path / "raster.tif", np.zeros((5, 5), bool))
    with pytest.raises(SettingError, match=message):
        extract_lines(raster, progress=False, **wishes)
    assert [path.name for path in tmp_path.iterdir()] == ["raster.tif"]


def test_whole_numbers_without_a_class_and_several_bands_without_a_band_are_refused(tmp_path: Path) -> None:
    numbers = write_pixels(tmp_path / "numbers.tif", np.ones((1, 5, 5), "uint8"))
    with pytest.raises(SettingError, match="pass class_value="):
        extract_lines(numbers, progress=False)
    bands = write_pixels(tmp_path / "bands.tif", np.ones((2, 5, 5), "float32"))
    with pytest.raises(SettingError, match=r"pass band=, one of 1 \("):
        extract_lines(bands, progress=False)


@given(body=bodies(24), side=st.sampled_from([1, 3, 7]), fewest=st.sampled_from([1, 4, 30]))
@settings(deadline=None, max_examples=40)
def test_bodies_are_measured_across_cells(body: np.ndarray, side: int, fewest: int) -> None:
    height, width = body.shape
    whole = CellBlock(0, 0, -(-height // side), -(-width // side))
    cells, parts = {}, {}
    for row, col in whole.positions():
        window = slice(row * side, (row + 1) * side), slice(col * side, (col + 1) * side)
        part, _ = ndimage.label(body[window], np.ones((3, 3)))
        if part.any():
            parts[row, col] = (window, part)
            sides = {"top": part[0], "bottom": part[-1], "left": part[:, 0], "right": part[:, -1]}
            cells[row, col] = sides | {"pixels": np.bincount(part.reshape(-1))}
    large = large_bodies(cells, whole, fewest)
    kept, count = np.zeros(body.shape, bool), 0
    for place, (window, part) in parts.items():
        size = len(cells[place]["pixels"])
        kept[window] = large[count : count + size][part] & (part > 0)
        count += size
    assert (kept == _without_small(body, fewest)).all()
