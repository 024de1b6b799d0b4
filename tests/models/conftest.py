"""Data for models that train nothing but must believe that they could."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rasterloom.models.contract import ModelSpec, Normalization
from tests.support.models import pixel_spec


@dataclass(frozen=True)
class TinyData:
    """What a model asks of prepared data, without chips."""

    spec: ModelSpec
    normalization: Normalization
    working_dir: Path
    class_pixels: Mapping[int, int] = field(default_factory=lambda: {0: 50, 1: 30, 2: 15, 7: 5})
    object_sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))

    def spec_for(self, model_name: str, parameters: Mapping[str, Any]) -> ModelSpec:
        return replace(
            self.spec, model=model_name, parameters=dict(parameters), normalization=self.normalization
        )


@pytest.fixture
def make_data(tmp_path: Path) -> Callable[..., TinyData]:
    def make(*, object_sizes: Any = (), **changes: Any) -> TinyData:
        spec, sizes = pixel_spec(**changes), np.array(object_sizes, float).reshape(-1, 2)
        return TinyData(spec, spec.normalization, tmp_path, object_sizes=sizes)

    return make


@pytest.fixture
def shape() -> dict[str, Any]:
    """Settings of the smallest U-Net that is still one."""
    return {
        "backbone": "timm:test_resnet",
        "pretrained": False,
        "encoder_depth": 3,
        "decoder_channels": [16, 16, 8],
    }


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny images gain nothing from threads, which on a busy machine only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
