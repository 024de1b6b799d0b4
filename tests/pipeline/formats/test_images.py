import numpy as np
import pytest

from rasterloom.pipeline.formats.images import FILE_TYPES, read_image, write_image

CRS = "EPSG:32633"
PLACE = (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0)


@pytest.mark.parametrize("chip_format", FILE_TYPES)
@pytest.mark.parametrize("kept", [0, 1, 8, 60])
def test_an_image_is_written_over_what_a_killed_run_left_of_it(chip_format, kept, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 30)).astype(np.uint8)
    path = tmp_path / f"chip{FILE_TYPES[chip_format].suffix}"
    write_image(path, pixels, chip_format=chip_format, transform=PLACE, crs=CRS)
    whole = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:kept])
    write_image(path, pixels, chip_format=chip_format, transform=PLACE, crs=CRS)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == whole
    if chip_format != "JPEG":
        assert (read_image(path) == pixels).all()
