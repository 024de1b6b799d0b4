"""What photographs say of themselves, against what Pillow makes of it."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from rasterloom.models.errors import MissingInputError, ReadError
from rasterloom.pipeline.inference.photos.exif import photo_facts

_ORIENTATION, _GPS = 0x0112, 0x8825


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_pillow_turns_it(orientation, tmp_path):
    pixels = np.random.default_rng(orientation).integers(0, 255, (6, 10, 3), np.uint8)
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).save(path, exif=exif)
    facts = photo_facts(path)
    with Image.open(path) as stored:
        plain = np.moveaxis(np.asarray(stored), -1, 0)
        wanted = np.moveaxis(np.asarray(ImageOps.exif_transpose(stored)), -1, 0)
    assert np.array_equal(facts.upright(plain), wanted)
    assert np.array_equal(facts.upright(plain[0]), wanted[0])


@pytest.mark.parametrize(
    ("gps", "wanted"),
    [
        ({1: "S", 2: (33.0, 27.0, 0.0), 3: "W", 4: (70.0, 39.0, 36.0)}, (-70.66, -33.45)),
        ({1: "N", 2: (10.5, 0.0, 0.0), 3: "E", 4: (20.25, 0.0, 0.0)}, (20.25, 10.5)),
        ({1: "N", 2: (95.0, 0.0, 0.0), 3: "E", 4: (20.0, 0.0, 0.0)}, None),
        ({1: "N", 2: (10.0, 0.0, 0.0)}, None),
        ({}, None),
    ],
)
def test_the_place_is_read_where_there_is_one(gps, wanted, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(_GPS).update(gps)
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.jpg", exif=exif)
    found = photo_facts(tmp_path / "photo.jpg").place
    assert found == (None if wanted is None else pytest.approx(wanted, abs=1e-6))


def test_what_is_no_photograph_is_told(tmp_path):
    with pytest.raises(MissingInputError, match="there is no image"):
        photo_facts(tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(ReadError, match="cannot be read as an image"):
        photo_facts(tmp_path / "text.jpg")
