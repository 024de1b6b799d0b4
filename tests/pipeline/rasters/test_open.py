import os
import warnings

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

from rasterloom.models.errors import CrsError, MissingInputError, RasterError, SettingError
from rasterloom.pipeline.rasters import checks
from rasterloom.pipeline.rasters.gdal import DRIVERS
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import write_raster

PLACED = Affine(1, 0, 500000, 0, -1, 5000000)


def write(path, *, bands=1, dtype="uint8", driver="GTiff", **options):
    pixels = np.ones((bands, 20, 30), "complex64" if "complex" in dtype else dtype)
    profile = {"driver": driver, "count": bands, "height": 20, "width": 30, "dtype": dtype}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", NotGeoreferencedWarning
        )  # some of these files are meant to lack a place
        with rasterio.open(path, "w", **profile, **options) as target:
            target.write(pixels)
    return path


def virtual(path, source, *bands):
    """A virtual raster over band 1 of ``source``; ``bands`` are (type, more XML)."""
    listed = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{index}">{more}<SimpleSource><SourceFilename>{source}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for index, (kind, more) in enumerate(bands, start=1)
    )
    place = "<SRS>EPSG:32633</SRS><GeoTransform>500000, 1, 0, 5000000, 0, -1</GeoTransform>"
    path.write_text(f'<VRTDataset rasterXSize="30" rasterYSize="20">{place}{listed}</VRTDataset>')
    return path


@pytest.fixture
def path(tmp_path):
    return write_raster(tmp_path / "a.tif", height=20, width=30, nodata=0)


@pytest.mark.parametrize("form", [str, lambda path: path, lambda path: [str(path)], lambda path: path.parent])
def test_a_file_is_described_as_rasterio_sees_it(path, form):
    raster = describe(form(path))
    with rasterio.open(path) as source:
        assert raster.grid.shape == source.shape
        assert raster.grid.affine == source.transform
        assert CRS.from_wkt(raster.grid.crs) == source.crs
        assert raster.nodata == source.nodata
        assert raster.dtype == source.dtypes[0]
    assert raster.native == raster.grid
    assert describe(raster) is raster


def test_a_relative_path_works_after_the_folder_has_changed(path, monkeypatch, tmp_path):
    monkeypatch.chdir(path.parent)
    raster = describe("a.tif")
    monkeypatch.chdir("/")
    assert read_window(raster, Window(0, 0, 2, 2))[0].shape == (3, 2, 2)


@pytest.mark.parametrize(
    "name", ["white space.tif", "a&b<c>.tif", "ünï.tif", "what?.tif", "a!b.tif", "c:d.tif"]
)
def test_names_with_odd_characters_open_alone_and_in_a_mosaic(tmp_path, name):
    path = write_raster(tmp_path / name, height=20, width=30)
    other = write_raster(tmp_path / "other.tif", height=20, width=30, origin=(500030, 5000000))
    assert describe(path).grid.shape == (20, 30)
    pixels, _ = read_window(describe([path, other]), Window(0, 0, 20, 60))
    np.testing.assert_array_equal(pixels[:, :, :30], read_window(describe(path), Window(0, 0, 20, 30))[0])


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"bands": 3, "photometric": "RGB"}, ("Red", "Green", "Blue")),
        ({"bands": 4, "photometric": "RGB", "alpha": "NO"}, ("Red", "Green", "Blue", "Band_4")),
        ({"bands": 4, "photometric": "RGB", "alpha": "YES"}, ("Red", "Green", "Blue")),
        ({"bands": 2, "photometric": "MINISBLACK", "alpha": "YES"}, ("Band_1",)),
        ({"bands": 1}, ("Band_1",)),
    ],
    ids=str,
)
def test_bands_are_named_by_their_colour_or_number(tmp_path, options, names):
    path = write(tmp_path / "a.tif", crs="EPSG:32633", transform=PLACED, **options)
    assert describe(path).bands == names


def test_descriptions_name_bands_before_colours_do(tmp_path):
    path = write(tmp_path / "a.tif", bands=3, photometric="RGB", crs="EPSG:32633", transform=PLACED)
    with rasterio.open(path, "r+") as target:
        target.descriptions = ("B04", None, "B02")
    assert describe(path).bands == ("B04", "Green", "B02")


def test_a_colour_that_rasterio_does_not_know_does_not_matter(tmp_path, path):
    nir = virtual(tmp_path / "a.vrt", path, ("Byte", "<ColorInterp>NIR</ColorInterp>"))
    assert describe(nir).bands == ("Band_1",)


def test_a_file_replaced_between_two_looks_has_another_etag(path):
    before = describe(path)
    assert describe(path).etag == before.etag
    write_raster(path, height=20, width=30, nodata=0, seed=5)
    assert describe(path).etag != before.etag


def test_a_virtual_raster_changes_with_its_source_but_not_with_notes_about_it(tmp_path, path):
    vrt = virtual(tmp_path / "a.vrt", path, ("Byte", ""))
    before = describe(vrt).etag
    path.with_name("a.tif.aux.xml").write_text("<PAMDataset/>")
    assert describe(vrt).etag == before
    os.utime(path, (1, 1))
    assert describe(vrt).etag != before


@pytest.mark.parametrize("name", ["gone.tif", "", "a\0b", "x" * 5000, "gone/deeper.tif"])
def test_a_path_that_leads_nowhere_is_missing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_raster("here.tif", height=9, width=9)
    with pytest.raises(MissingInputError, match="there is no raster at"):
        describe(name)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ({"assets": "red"}, "assets= is for STAC items"),
        ({"variable": "red"}, "variable= is for a Zarr store"),
        ({"alpha": "veil"}, "alpha='veil' cannot work"),
        ({"resampling": "best"}, "resampling='best' is not known"),
    ],
)
def test_arguments_for_other_kinds_of_source_are_refused(path, argument, words):
    with pytest.raises(SettingError, match=words):
        describe(path, **argument)


def test_a_folder_in_a_list_is_no_file(path):
    with pytest.raises(RasterError, match="cannot be opened as a raster: Is a directory"):
        describe([path, path.parent])


def test_a_file_address_is_a_path(path):
    assert describe(path.resolve().as_uri()) == describe(path)


def test_a_raster_in_blocks_that_are_too_large_says_how_to_retile_it(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "MAX_BLOCK", 1000)
    path = write(
        tmp_path / "a.tif", bands=3, crs="EPSG:32633", transform=PLACED, blockysize=20, interleave="pixel"
    )
    with pytest.raises(RasterError, match=r"a\.tif is stored in blocks of .*gdal_translate -co TILED=YES"):
        describe(path)
    tiled = write_raster(tmp_path / "b.tif", height=20, width=30)  # blocks of 64 x 64 x 3
    with pytest.raises(RasterError, match=r"b\.tif is stored in blocks of"):
        describe(tiled)
    monkeypatch.undo()
    assert describe(path).grid.shape == (20, 30)


def test_a_raster_that_claims_too_many_pixels_is_refused(path, monkeypatch):
    monkeypatch.setattr(checks, "MAX_PIXELS", 599)
    with pytest.raises(RasterError, match="says that it has 20 x 30 pixels, more than"):
        describe(path)


@pytest.mark.parametrize(
    ("source", "words"), [(None, "NoneType"), ([], "list without paths"), (5, "int"), (b"a.tif", "bytes")]
)
def test_what_is_no_source_is_told_what_is_one(source, words):
    with pytest.raises(RasterError, match=f"{words}: give a path, a list of paths, a folder"):
        describe(source)


def test_a_folder_without_rasters_says_what_it_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "._ghost.tif").write_text("a Mac's shadow of a file")
    with pytest.raises(MissingInputError, match=r"holds no raster: looked for \.tif"):
        describe(tmp_path)


def test_a_raster_without_crs_is_refused_without_a_warning(tmp_path):
    path = write_raster(tmp_path / "a.tif", height=9, width=9, crs=None)
    with pytest.raises(CrsError, match=r"no coordinate reference system: give it one \(rio edit-info"):
        describe(path)
    with pytest.raises(CrsError, match="no coordinate reference system"):
        describe(write(tmp_path / "b.tif"))


def test_a_raster_without_a_place_is_refused_without_a_warning(tmp_path):
    with pytest.raises(RasterError, match=r"does not say where its pixels lie.*--transform"):
        describe(write(tmp_path / "a.tif", crs="EPSG:32633"))


def test_ground_control_points_alone_are_no_grid(tmp_path):
    path = write(tmp_path / "a.tif")
    points = [GroundControlPoint(0, 0, 0, 0), GroundControlPoint(0, 5, 5, 0), GroundControlPoint(5, 0, 0, 5)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # opening it to give it the points
        with rasterio.open(path, "r+") as target:
            target.gcps = (points, CRS.from_epsg(32633))
    with pytest.raises(CrsError, match="ground control points only: warp it"):
        describe(path)


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
def test_complex_pixels_are_refused(tmp_path, dtype):
    path = write(tmp_path / "a.tif", dtype=dtype, crs="EPSG:32633", transform=PLACED)
    with pytest.raises(RasterError, match=f"complex numbers \\({dtype}\\): write their magnitudes"):
        describe(path)


def test_bands_of_different_types_are_refused(tmp_path, path):
    with pytest.raises(RasterError, match=r"different pixel types \(uint8, uint16\)"):
        describe(virtual(tmp_path / "a.vrt", path, ("Byte", ""), ("UInt16", "")))


@pytest.mark.parametrize("content", [b"", b"hello", b"II*\0\x08\0\0\0", b"<GDAL_WMS></GDAL_WMS>"])
def test_what_is_not_a_raster_is_refused(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(RasterError, match=r"a\.tif (is not a raster of a kind|cannot be opened)"):
        describe(tmp_path / "a.tif")


@pytest.mark.parametrize("driver", ["GIF", "AAIGrid"])
def test_foreign_drivers_never_open_a_file(tmp_path, driver):
    path = tmp_path / "a.dat"
    if driver == "AAIGrid":
        path.write_text("ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2\n3 4\n")
    else:
        write(path, driver=driver)
    with rasterio.Env(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # GDAL itself can open it
        rasterio.open(path).close()
    with pytest.raises(RasterError, match=f"{DRIVERS[0]}, .*convert it to GeoTIFF"):
        describe(path)


def test_a_container_names_what_it_holds_and_a_way_in(tmp_path):
    y, x = np.arange(4.0), np.arange(5.0)
    layers = {name: (("y", "x"), np.ones((4, 5))) for name in ("warmth", "rain")}
    xarray.Dataset(layers, coords={"y": y, "x": x}).to_netcdf(tmp_path / "a.nc", engine="scipy")
    with pytest.raises(RasterError, match=r"it holds warmth, rain.*rioxarray.open_rasterio"):
        describe(tmp_path / "a.nc")


@pytest.mark.parametrize("driver", ["COG", "PNG", "JPEG", "HFA", "ENVI", "WEBP"])
def test_the_usual_formats_open(tmp_path, driver):
    suffix = {"COG": "tif", "HFA": "img", "ENVI": "dat"}.get(driver, driver.lower())
    path = write_raster(tmp_path / "a.tif", height=64, width=64)
    rasterio.shutil.copy(path, tmp_path / f"copy.{suffix}", driver=driver)
    raster = describe(tmp_path / f"copy.{suffix}")
    assert raster.grid.shape == (64, 64)
    pixels, valid = read_window(raster, Window(0, 0, 64, 64))
    assert pixels.std() > 0
    assert valid.all()


def test_describing_reads_no_pixels(path, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("pixels were read")

    monkeypatch.setattr(rasterio.io.DatasetReader, "read", refuse, raising=False)
    describe(path)


def test_errors_are_ours_and_builtin(tmp_path):
    with pytest.raises(FileNotFoundError):
        describe(tmp_path / "gone.tif")
    with pytest.raises(ValueError, match="coordinate reference"):
        describe(write_raster(tmp_path / "a.tif", height=9, width=9, crs=None))
    assert not issubclass(RasterError, SettingError)
