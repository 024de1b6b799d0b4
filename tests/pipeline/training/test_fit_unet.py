"""A real network through the whole of training."""

import numpy as np
import torch

from rasterloom.models.pixels.unet import UnetClassifier
from rasterloom.pipeline.datasets.prepare import prepare_data
from tests.pipeline.datasets.stores import toy_chips, write_store


def test_a_unet_learns_the_toy_problem(tmp_path):
    path = write_store(tmp_path / "toy.zarr", *toy_chips(12))
    data = prepare_data(path, chip_size=32, batch_size=4, val_split_pct=0.25)
    model = UnetClassifier(data, backbone="resnet18", pretrained=False)
    model.fit(3, lr=slice(1e-3, 3e-3), monitor="miou", show_progress=False)
    rows = model.history.rows
    assert len(rows) == 3
    assert rows[-1].train_loss < 0.8 * rows[0].train_loss
    assert model.mIOU(mean=True, show_progress=False) == max(row.metrics["miou"] for row in rows)
    assert all(p.is_contiguous() and p.device.type == "cpu" for p in model.network.parameters())
    assert np.isfinite(model.accuracy())
    assert isinstance(model.network, torch.nn.Module)
