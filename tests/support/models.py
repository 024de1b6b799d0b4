"""Small models with random weights, the same for the same seed."""

from typing import Any

from rasterloom.models.contract import ClassInfo, ModelSpec, Normalization, Task
from rasterloom.pipeline.rasters.grid import read_crs

CLASSES = (
    ClassInfo(1, "Field", (200, 180, 90)),
    ClassInfo(2, "Water", (20, 60, 200)),
    ClassInfo(7, "Road", (90, 90, 90)),
)


def pixel_spec(*, bands: int = 3, tile_size: int = 64, **changes: Any) -> ModelSpec:
    """Description of a small U-Net for a raster of ``write_raster``."""
    settings: dict[str, Any] = {
        "model": "UnetClassifier",
        "task": Task.PIXELS,
        "bands": tuple(f"Band_{index + 1}" for index in range(bands)),
        "extract_bands": tuple(range(bands)),
        "dtype": "uint8",
        "normalization": Normalization((120.0,) * bands, (50.0,) * bands),
        "tile_size": tile_size,
        "classes": CLASSES,
        "cell_size": (1.0, 1.0),
        "crs": read_crs("EPSG:32633").to_wkt(),
        "parameters": {
            "backbone": "resnet18",
            "pretrained": False,
            "encoder_depth": 3,
            "decoder_channels": [16, 16, 8],
        },
    }
    return ModelSpec(**(settings | changes))


def random_model(*, seed: int = 0, **changes: Any) -> Any:
    """A small U-Net whose weights are random, so that neighbouring pixels differ in class."""
    import torch

    from rasterloom.models.build import build

    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        model = build(pixel_spec(**changes))
        for buffer_name, buffer in model.network.named_buffers():
            if buffer_name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
    finally:
        torch.random.set_rng_state(state)
    return model
