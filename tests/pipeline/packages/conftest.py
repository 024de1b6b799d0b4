"""One small saved model for all tests of packages."""

from pathlib import Path
from typing import Any

import pytest

from rasterloom.models.history import EpochRow, History
from rasterloom.pipeline.packages.save import save_package
from tests.support.models import random_model

PARAMETERS = {
    "backbone": "timm:test_resnet",
    "pretrained": False,
    "encoder_depth": 3,
    "decoder_channels": [16, 16, 8],
}


@pytest.fixture(scope="session")
def model() -> Any:
    """Random weights and a training table; outputs 0, 1, 2, 7 on tiles of 64 pixels."""
    made = random_model(parameters=PARAMETERS)
    made.history = History(
        (EpochRow(1, 0.9, 0.8, {"miou": 0.4}), EpochRow(2, 0.5, 0.6, {"miou": 0.6})), 0.003
    )
    return made


@pytest.fixture(scope="session")
def saved(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its package; tests read it and leave it alone."""
    return save_package(model, tmp_path_factory.mktemp("package") / "fields")
