"""The price of running an inference function is counted from its plan."""

import pytest

from rasterloom.models.errors import PackageError
from rasterloom.pipeline import classify_pixels
from tests.support.functions import MEAN, SMOOTHING, write_function
from tests.support.rasters import write_raster


def test_tiles_pixels_and_bytes_are_those_of_the_run(tmp_path):
    scene = write_raster(tmp_path / "scene.tif", height=100, width=90)
    ran = tmp_path / "ran"
    note = f"        with open({str(ran)!r}, 'a') as file:\n            file.write('x')\n"
    noting = MEAN.replace('        return {"output_pixels"', note + '        return {"output_pixels"')
    model = write_function(tmp_path / "mean", "Mean", noting, beside={"smoothing.py": SMOOTHING})
    found = classify_pixels(scene, model, trust=True, estimate=True, cell_size=48)
    # tiles of 24 x 40 in cells of 48 x 80: five rows of tiles in cells of 2, 2, 1, three columns in 2, 1
    assert (found.chips, found.pixels, found.batches) == (15, 9000, 6)
    assert found.bytes_read == (120 + 3 * 6) * (120 + 2 * 6) * 3
    assert found.bytes_written == 9000 * 3 * 4
    assert found.seconds > 0
    assert found.peak_memory > 0
    ran.unlink()
    classify_pixels(scene, model, None, tmp_path / "out.tif", trust=True, cell_size=48, progress=False)
    assert len(ran.read_text()) == found.chips


def test_a_price_is_not_asked_of_a_script_that_is_not_trusted(tmp_path):
    scene = write_raster(tmp_path / "scene.tif", height=60, width=60)
    model = write_function(tmp_path / "mean", "Mean", MEAN, beside={"smoothing.py": SMOOTHING})
    with pytest.raises(PackageError, match="trust=True"):
        classify_pixels(scene, model, estimate=True)
