"""A rasterloom classifier of chips behind the Python raster function interface that other software calls."""

import json
from typing import Any

import numpy as np

from rasterloom.pipeline.packages.esri import opened_model, parameter, prepared_image

_POLYGON = 4
_BATCH = 64
_LEAST = 0.5
"""Probability from which a chip is given one of several labels."""


class SceneFunction:
    """The label of the chip of each feature; the host calls the methods in the order they stand here."""

    name = "Object classification"
    description = "Gives features a label with a rasterloom model."

    def initialize(self, **kwargs: Any) -> None:
        """Load the model named by ``model`` (path of the .emd) on ``device`` (GPU number, -1 CPU, -2 any)."""
        self._model, self._device = opened_model(**kwargs)
        self._model.network.eval()
        self._batch_size = _BATCH

    def getParameterInfo(self) -> list[dict[str, Any]]:  # noqa: N802 the interface's name
        """What the host asks its user for."""
        return [
            parameter("rasters", "rasters", None, "Input rasters", "The chips to look at."),
            parameter("model", "string", None, "Model", "The .emd file."),
            parameter(
                "batch_size",
                "numeric",
                str(self._batch_size),
                "Batch size",
                "Chips that are looked at together.",
                required=False,
            ),
        ]

    def getConfiguration(self, **scalars: Any) -> dict[str, Any]:  # noqa: N802 the interface's name
        """Which pixels the host must send; the values of ``scalars`` come as text."""
        self._batch_size = max(1, int(float(scalars.get("batch_size", self._batch_size))))
        side, told = self._model.spec.tile_size, self._model.spec.parameters
        return {
            "extractBands": tuple(self._model.spec.extract_bands),
            "padding": 0,
            "tx": side,
            "ty": side,
            "fixedTileSize": 1,
            "CropSizeFixed": int(bool(told.get("crop_size_fixed", True))),
            "BlackenAroundFeature": int(bool(told.get("blacken_around_feature", False))),
            "batch_size": self._batch_size,
        }

    def getFields(self) -> str:  # noqa: N802 the interface's name
        """The attributes of each feature."""
        kinds = (("OID", "OID"), ("Classname", "String"), ("Classvalue", "Integer"), ("Confidence", "Double"))
        more = (("Label", "String"),)
        fields = [{"name": n, "type": f"esriFieldType{kind}", "alias": n} for n, kind in (*kinds, *more)]
        return json.dumps({"fields": fields})

    def getGeometryType(self) -> int:  # noqa: N802 the interface's name
        """Polygons."""
        return _POLYGON

    def vectorize(self, **pixel_blocks: Any) -> dict[str, str]:
        """The labels of chips, ``rasters_pixels`` of (bands, height, width) each, as a feature set in order.

        Confidence goes from 0 to 1. ``Label`` is the name of the class, as ``Classname``.
        """
        features = []
        for number, likely in enumerate(self._probabilities(pixel_blocks["rasters_pixels"]), start=1):
            name, value, share = self._label(likely)
            attributes = {"OID": number, "Classname": name, "Classvalue": value, "Confidence": share}
            features.append({"attributes": {**attributes, "Label": name}, "geometry": {"rings": [[]]}})
        found = {"geometryType": "esriGeometryPolygon", "features": features}
        return {"output_vectors": json.dumps(json.loads(self.getFields()) | found)}

    def _probabilities(self, chips: Any) -> np.ndarray:
        """(n, K) probabilities of the classes."""
        import torch
        from torch.nn import functional as F

        side, parts = self._model.spec.tile_size, []
        for start in range(0, len(chips), self._batch_size):
            images = []
            for pixels in chips[start : start + self._batch_size]:
                image = torch.from_numpy(prepared_image(np.asarray(pixels), self._model)[None])
                if image.shape[-2:] != (side, side):
                    image = F.interpolate(image, (side, side), mode="bilinear", align_corners=False)
                images.append(image)
            with torch.inference_mode():
                parts.append(self._model.classify_chips(torch.cat(images).to(self._device)).cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, len(self._model.output_classes)))

    def _label(self, likely: np.ndarray) -> tuple[str, int | None, float]:
        classes, best = self._model.output_classes, int(likely.argmax())
        if not self._model.multilabel:
            return classes[best].name, classes[best].value, float(likely[best])
        given = [place for place in np.argsort(-likely, kind="stable") if likely[place] >= _LEAST]
        names = ", ".join(classes[place].name for place in given)
        return names, classes[best].value if given else None, float(likely[best])
