"""One store of each kind, shared by the tests."""

from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.datasets.stores import (
    COUNT,
    THINGS,
    bounds,
    boxed_objects,
    numbered_chips,
    outlined_objects,
    square_chips,
    write_store,
)


@pytest.fixture(scope="session")
def stores(tmp_path_factory) -> dict[str, Path]:
    """One store of each kind."""
    folder = tmp_path_factory.mktemp("kinds")
    images, outlines, values = square_chips(COUNT)
    boxes = boxed_objects([[bounds(m) for m in chip] for chip in outlines], values)
    outlined = outlined_objects(outlines, values)
    masks = np.where(images[:, 0] >= 100, 5, 1).astype(np.uint8)
    second = 255 - images[:, :2]
    labels = np.where(np.arange(COUNT) % 3, 1, 5)
    columns = np.stack([np.arange(COUNT) % 2, np.ones(COUNT)], axis=1).astype(np.uint8)
    made = {
        "KITTI_rectangles": {"objects": boxes, "classes": THINGS},
        "PASCAL_VOC_rectangles": {"objects": boxes, "classes": THINGS},
        "YOLO": {"objects": boxes, "classes": THINGS},
        "RCNN_Masks": {"objects": outlined, "classes": THINGS},
        "COCO": {"objects": outlined, "classes": THINGS},
        "Classified_Tiles": {"masks": masks},
        "Labeled_Tiles": {"labels": labels},
        "Imagenet": {"labels": labels},
        "MultiLabeled_Tiles": {"labels": columns},
        "Export_Tiles": {"classes": ()},
        "Panoptic_Segmentation": {"masks": masks, "objects": outlined, "instance_classes": THINGS},
    }
    paths = {
        name: write_store(folder / f"{name}.zarr", images, metadata_format=name, **parts)
        for name, parts in made.items()
    }
    paths["change"] = write_store(
        folder / "change.zarr", images, masks, images2=255 - images, bands2=("band_1", "band_2", "band_3")
    )
    paths["pairs"] = write_store(
        folder / "pairs.zarr", images, metadata_format="Export_Tiles", classes=(), images2=second
    )
    for side, count in (("A", 12), ("B", 7)):
        chips, _ = numbered_chips(count, side=16)
        write_store(folder / "both" / side, chips, metadata_format="CycleGAN", classes=())
    paths["both"] = folder / "both"
    return paths
