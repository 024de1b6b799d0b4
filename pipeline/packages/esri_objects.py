"""A rasterloom detector behind the Python raster function interface that other software calls."""

import json
from typing import Any

import numpy as np

from rasterloom.pipeline.packages.esri import opened_model, parameter, prepared_image

_POLYGON = 4
_TRUE = ("true", "1")


class ObjectFunction:
    """Outlines of the things on a tile; the host calls the methods in the order they stand here."""

    name = "Object detection"
    description = "Finds things with a rasterloom model."

    def initialize(self, **kwargs: Any) -> None:
        """Load the model named by ``model`` (path of the .emd) on ``device`` (GPU number, -1 CPU, -2 any)."""
        self._model, self._device = opened_model(**kwargs)
        self._model.network.eval()
        self._padding = self._model.spec.tile_size // 4
        self._threshold, self._overlap, self._own_only = 0.5, 0.1, True

    def getParameterInfo(self) -> list[dict[str, Any]]:  # noqa: N802 the interface's name
        """What the host asks its user for."""
        plain = (
            ("padding", "numeric", str(self._padding), "Padding", "Pixels around what is kept."),
            ("threshold", "numeric", str(self._threshold), "Threshold", "Least confidence, 0 to 1."),
            (
                "nms_overlap",
                "numeric",
                str(self._overlap),
                "NMS overlap",
                "Most that two of a class overlap.",
            ),
            (
                "exclude_pad_detections",
                "string",
                "True",
                "Exclude pad detections",
                "Whether things whose centre is in the padding are left to the tile beside.",
            ),
        )
        return [
            parameter("raster", "raster", None, "Input raster", "The raster to look at."),
            parameter("model", "string", None, "Model", "The .emd file."),
            *(parameter(*row, required=False) for row in plain),
        ]

    def getConfiguration(self, **scalars: Any) -> dict[str, Any]:  # noqa: N802 the interface's name
        """Which pixels the host must send; the values of ``scalars`` come as text."""
        tile = self._model.spec.tile_size
        self._padding = min(max(int(float(scalars.get("padding", self._padding))), 0), (tile - 1) // 2)
        self._threshold = float(scalars.get("threshold", self._threshold))
        self._overlap = float(scalars.get("nms_overlap", self._overlap))
        self._own_only = str(scalars.get("exclude_pad_detections", self._own_only)).lower() in _TRUE
        kept = tile - 2 * self._padding
        return {
            "extractBands": tuple(self._model.spec.extract_bands),
            "padding": self._padding,
            "tx": kept,
            "ty": kept,
            "fixedTileSize": 1,
            "inputMask": True,
        }

    def getFields(self) -> str:  # noqa: N802 the interface's name
        """The attributes of each thing."""
        kinds = (("OID", "OID"), ("Class", "String"), ("Confidence", "Double"))
        fields = [{"name": name, "type": f"esriFieldType{kind}", "alias": name} for name, kind in kinds]
        return json.dumps({"fields": fields})

    def getGeometryType(self) -> int:  # noqa: N802 the interface's name
        """Polygons."""
        return _POLYGON

    def vectorize(self, **pixel_blocks: Any) -> dict[str, str]:
        """The things of a block (bands, ty + 2 * padding, tx + 2 * padding), as a feature set.

        Pixels are counted from the upper-left corner of what is kept of the block, x to the right, y down.
        Confidence goes from 0 to 100.
        """
        pixels = np.asarray(pixel_blocks["raster_pixels"])
        mask = pixel_blocks.get("raster_mask")
        valid: np.ndarray | None = None if mask is None else np.asarray(mask, bool).max(axis=0)
        found, features = self._found(pixels), list[dict[str, Any]]()
        for index, (box, label, score) in enumerate(
            zip(found["boxes"], found["labels"], found["scores"], strict=True)
        ):
            outline = _rings(found["masks"][index] if "masks" in found else None, box, self._padding)
            if not outline or not self._is_own(box, pixels.shape[1:]) or not _is_seen(box, valid):
                continue
            name = self._model.spec.classes[int(label) - 1].name
            attributes = {"OID": len(features) + 1, "Class": name, "Confidence": 100 * float(score)}
            features.append({"attributes": attributes, "geometry": {"rings": outline}})
        found_features = {"geometryType": "esriGeometryPolygon", "features": features}
        return {"output_vectors": json.dumps(json.loads(self.getFields()) | found_features)}

    def _found(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        import torch

        image = torch.from_numpy(prepared_image(pixels, self._model)[None]).to(self._device)
        with torch.inference_mode():
            chip = self._model.detect(image, threshold=self._threshold, nms_overlap=self._overlap)[0]
        return {name: values.cpu().numpy() for name, values in chip.items()}

    def _is_own(self, box: np.ndarray, size: tuple[int, ...]) -> bool:
        """Whether the centre of a box lies in what is kept of its block."""
        if not self._own_only:
            return True
        x, y = (box[:2] + box[2:]) / 2
        pad, (height, width) = self._padding, size
        return bool(pad <= x < width - pad and pad <= y < height - pad)


def _is_seen(box: np.ndarray, valid: np.ndarray | None) -> bool:
    """Whether a box has a pixel that is known."""
    if valid is None:
        return True
    left, top = np.floor(box[:2]).clip(0).astype(int)
    right, bottom = np.ceil(box[2:]).clip(0).astype(int)
    return bool(valid[top:bottom, left:right].any())


def _rings(mask: np.ndarray | None, box: np.ndarray, padding: int) -> list[list[list[float]]]:
    """The rings of an outline, or of the box where there is none, each closed; none of an empty outline."""
    if mask is None:
        left, top, right, bottom = (float(side) - padding for side in box)
        return [[[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]]
    from rasterio.features import shapes

    plane = np.asarray(mask, np.uint8)
    parts = [geometry["coordinates"] for geometry, _ in shapes(plane, mask=plane.astype(bool))]
    return [[[x - padding, y - padding] for x, y in ring] for part in parts for ring in part]
