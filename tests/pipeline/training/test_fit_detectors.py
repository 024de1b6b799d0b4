"""Our own detectors through the whole of training."""

import pytest
import torch

from rasterloom.models import SingleShotDetector, YOLOv3
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.training.evaluate import evaluate
from tests.pipeline.datasets.stores import THINGS, bounds, boxed_objects, square_chips, write_store

SMALL = {"backbone": "timm:test_resnet", "pretrained": False}


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    images, outlines, values = square_chips(48)
    alike = [[2] * len(chip) for chip in values]
    objects = boxed_objects([[bounds(mask) for mask in chip] for chip in outlines], alike)
    path = tmp_path_factory.mktemp("chips") / "squares.zarr"
    kind = "PASCAL_VOC_rectangles"
    return write_store(path, images, objects=objects, classes=THINGS[:1], metadata_format=kind)


@pytest.mark.parametrize(
    ("kind", "settings", "epochs"),
    [
        (SingleShotDetector, {"head_channels": 32}, 15),
        (YOLOv3, {"head_channels": [32, 32, 32]}, 40),
    ],
)
def test_a_detector_learns_squares_that_an_untrained_one_does_not_find(
    squares, tmp_path, kind, settings, epochs
):
    data = prepare_data(squares, chip_size=32, batch_size=4, val_split_pct=0.2, seed=0, working_dir=tmp_path)
    torch.manual_seed(0)
    model = kind(data, **SMALL, **settings)

    def precision():
        found = evaluate(model, data, show_progress=False, threshold=0.05, iou=0.5)
        return found.mean_average_precision()

    before = precision()
    model.fit(epochs, lr=5e-3, checkpoint=False, show_progress=False)
    rows = model.history.rows
    assert rows[-1].train_loss < rows[0].train_loss / 2
    assert rows[-1].valid_loss < rows[0].valid_loss / 2
    after = precision()
    assert after > before + 0.4, (before, after)
    assert model.average_precision_score(mean=True, show_progress=False) > 0.4
