import numpy as np
import pytest

from rasterloom.models.errors import MissingInputError, RasterError
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import write_raster

PLACE = "<SRS>EPSG:32633</SRS><GeoTransform>500000, 1, 0, 5000000, 0, -1</GeoTransform>"


@pytest.fixture
def path(tmp_path):
    return write_raster(tmp_path / "a.tif", height=20, width=30, bands=1)


def virtual(path, source, *, relative=0, band="", dataset="", more=""):
    path.write_text(
        f'<VRTDataset rasterXSize="30" rasterYSize="20"{dataset}>{PLACE}{more}'
        f'<VRTRasterBand dataType="Byte" band="1"{band}><SimpleSource>'
        f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return path


def whole(raster):
    return read_window(raster, Window(0, 0, *raster.grid.shape))[0]


@pytest.mark.parametrize("relative", [0, 1])
def test_a_virtual_raster_over_files_reads_as_they_do(tmp_path, path, relative):
    vrt = virtual(tmp_path / "a.vrt", "a.tif" if relative else path, relative=relative)
    np.testing.assert_array_equal(whole(describe(vrt)), whole(describe(path)))
    twice = virtual(tmp_path / "b.vrt", vrt)
    np.testing.assert_array_equal(whole(describe(twice)), whole(describe(path)))


@pytest.mark.parametrize(
    "source",
    ["WMTS:https://host/wmts", "/vsimem/a.tif", "/vsicurl/ftp://host/a", "gopher://host/a.tif", "vrt://a.tif"]
    + ["&lt;GDAL_WMS&gt;&lt;/GDAL_WMS&gt;", "PG:host=here", "/vsicurl_streaming/http://host/a.tif"],
)
def test_a_source_that_is_no_raster_of_ours_is_not_followed(tmp_path, source):
    with pytest.raises((RasterError, MissingInputError), match=r"not followed|which is no file"):
        describe(virtual(tmp_path / "a.vrt", source))


def test_a_local_file_that_describes_a_service_is_not_followed(tmp_path):
    for name, content in (("a.xml", "<GDAL_WMS></GDAL_WMS>"), ("a.json", '{"type": "service"}')):
        (tmp_path / name).write_text(content)
        with pytest.raises(RasterError, match="describes a service and is not followed"):
            describe(virtual(tmp_path / "a.vrt", tmp_path / name))


def test_what_hides_in_a_nested_virtual_raster_is_found(tmp_path):
    inner = virtual(tmp_path / "inner.vrt", "WMTS:https://host/wmts")
    with pytest.raises(MissingInputError, match=r"inner\.vrt draws pixels from"):
        describe(virtual(tmp_path / "outer.vrt", inner))
    text = inner.read_text().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    with pytest.raises(MissingInputError, match="draws pixels from 'WMTS"):
        describe(virtual(tmp_path / "inline.vrt", text))


@pytest.mark.parametrize(
    "parts",
    [
        {"band": ' subClass="VRTRawRasterBand"'},
        {"dataset": ' subClass="VRTProcessedDataset"'},
    ],
)
def test_kinds_that_do_more_than_combine_pixels_are_refused(tmp_path, path, parts):
    with pytest.raises(RasterError, match="which is not followed: write it as a GeoTIFF"):
        describe(virtual(tmp_path / "a.vrt", path, **parts))


def test_metadata_cannot_name_a_service_either(tmp_path, path):
    more = '<Metadata domain="GEOLOCATION"><MDI key="X_DATASET">WMTS:https://host</MDI></Metadata>'
    with pytest.raises(MissingInputError, match="WMTS"):
        describe(virtual(tmp_path / "a.vrt", path, more=more))


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(MissingInputError, match=r"a\.vrt draws pixels from .*gone\.tif', which is no file"):
        describe(virtual(tmp_path / "a.vrt", tmp_path / "gone.tif"))


def test_virtual_rasters_that_hold_each_other_end(tmp_path):
    virtual(tmp_path / "b.vrt", tmp_path / "a.vrt")
    raster = describe(virtual(tmp_path / "a.vrt", tmp_path / "b.vrt"))
    assert raster.grid.shape == (20, 30)


def test_a_swelling_text_is_refused(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    for text in (f"<VRTDataset>{bomb}</VRTDataset>", "<VRTDataset", "<VRTDataset></VRTBand>"):
        (tmp_path / "a.vrt").write_text(text)
        with pytest.raises(RasterError, match="no virtual raster that can be read"):
            describe(tmp_path / "a.vrt")
