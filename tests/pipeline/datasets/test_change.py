"""Pairs of dates: one scaling for both."""

import numpy as np
import pytest
import torch

from rasterloom.models.errors import StoreError
from rasterloom.pipeline import prepare_data
from tests.pipeline.datasets.stores import write_store


def dates(dtype=np.uint16, bands=2):
    rng = np.random.default_rng(3)
    before = rng.integers(100, 200, (6, bands, 16, 16)).astype(dtype)
    return before, (before + 50).astype(dtype), rng.integers(0, 2, (6, 16, 16)).astype(np.uint8)


def test_what_is_as_bright_at_both_dates_is_the_same_to_the_network(tmp_path):
    before, after, masks = dates()
    path = write_store(tmp_path / "dates.zarr", before, masks, images2=after)
    data = prepare_data(path, chip_size=16, batch_size=2, transforms=(None, None))
    both = np.concatenate([before, after]).astype(float)
    np.testing.assert_allclose(data.normalization.mean, both.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(data.normalization.std, both.std((0, 2, 3)), rtol=1e-3)
    (first, second), _ = next(iter(data.valid_loader()))
    std = torch.tensor(data.normalization.std)[:, None, None]
    torch.testing.assert_close((second - first) * std, torch.full_like(first, 50.0), rtol=1e-4, atol=1e-2)


def test_bands_are_chosen_by_position_whatever_the_later_raster_calls_them(tmp_path):
    before, after, masks = dates(bands=4)
    path = write_store(tmp_path / "dates.zarr", before, masks, images2=after)
    data = prepare_data(path, chip_size=16, batch_size=2, extract_bands=[2, 0], transforms=(None, None))
    assert data.bands == ("band_3", "band_1")
    assert data.bands2 == ("second_3", "second_1")
    (first, second), _ = next(iter(data.valid_loader()))
    std = torch.tensor(data.normalization.std)[:, None, None]
    torch.testing.assert_close((second - first) * std, torch.full_like(first, 50.0), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda after: after[:, :1], "2 bands of uint16 and the later ones 1 of uint16"),
        (lambda after: after.astype(np.uint8), "2 bands of uint16 and the later ones 2 of uint8"),
    ],
)
def test_dates_that_differ_in_bands_or_type_are_refused(tmp_path, change, message):
    before, after, masks = dates()
    path = write_store(tmp_path / "dates.zarr", before, masks, images2=change(after))
    with pytest.raises(StoreError, match=message):
        prepare_data(path, chip_size=16)
    assert prepare_data(path, chip_size=16, dataset_type="Classified_Tiles").c == 3
