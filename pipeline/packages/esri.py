"""A rasterloom model behind the Python raster function interface that other software calls.

A package holds a script of a few lines whose class inherits from the one here, so rasterloom must be
installed where the script runs.
"""

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from rasterloom.models.catalog import AdapterRow
from rasterloom.models.contract import Task
from rasterloom.pipeline.packages.load import build_model, load_package

if TYPE_CHECKING:
    import torch

_KEEP = 4 | 8
"""Output inherits geometry and resampling, not pixel type and NoData."""
_CHOOSE_DEVICE = -2


class PixelFunction:
    """Class of every pixel of a tile; the host calls the methods in the order they stand here."""

    name = "Pixel classification"
    description = "Gives every pixel a class with a rasterloom model."

    def initialize(self, **kwargs: Any) -> None:
        """Load the model named by ``model`` (path of the .emd) on ``device`` (GPU number, -1 CPU, -2 any)."""
        self._model, self._device = opened_model(**kwargs)
        self._padding = self._model.spec.tile_size // 4
        self._background = True

    def getParameterInfo(self) -> list[dict[str, Any]]:  # noqa: N802 the interface's name
        """What the host asks its user for."""
        plain = (
            (
                "padding",
                "numeric",
                str(self._padding),
                "Padding",
                "Pixels cut from each side of a prediction.",
            ),
            ("predict_background", "string", "True", "Predict background", "Whether class 0 is an answer."),
        )
        return [
            parameter("raster", "raster", None, "Input raster", "The raster to classify."),
            parameter("model", "string", None, "Model", "The .emd file."),
            *(parameter(*row, required=False) for row in plain),
        ]

    def getConfiguration(self, **scalars: Any) -> dict[str, Any]:  # noqa: N802 the interface's name
        """Which pixels the host must send; the values of ``scalars`` come as text."""
        tile = self._model.spec.tile_size
        self._padding = min(max(int(float(scalars.get("padding", self._padding))), 0), (tile - 1) // 2)
        self._background = str(scalars.get("predict_background", "True")).lower() in ("true", "1")
        kept = tile - 2 * self._padding
        return {
            "extractBands": tuple(self._model.spec.extract_bands),
            "padding": self._padding,
            "tx": kept,
            "ty": kept,
            "fixedTileSize": 1,
            "inputMask": True,
            "inheritProperties": _KEEP,
            "invalidateProperties": 2 | 4 | 8,
        }

    def updateRasterInfo(self, **kwargs: Any) -> dict[str, Any]:  # noqa: N802 the interface's name
        """One band of class values, with the table of classes."""
        output = kwargs["output_info"]
        output["bandCount"] = 1
        output["pixelType"] = _pixel_type(self._model.spec.output_values)
        output["rasterAttributeTable"] = json.dumps(self._attribute_table())
        return kwargs

    def updatePixels(  # noqa: N802 the interface's name
        self, tlc: Any, shape: Any, props: Any, **pixel_blocks: Any
    ) -> dict[str, Any]:
        """Class values (1, ty, tx) of a block (bands, ty + 2 * padding, tx + 2 * padding)."""
        pixels = np.asarray(pixel_blocks["raster_pixels"])
        pad = self._padding
        rows, cols = slice(pad, pixels.shape[1] - pad), slice(pad, pixels.shape[2] - pad)
        classes = self._classify(pixels)[rows, cols]
        kind = _pixel_type(self._model.spec.output_values)
        pixel_blocks["output_pixels"] = classes[None].astype(kind)
        mask = pixel_blocks.get("raster_mask")
        if mask is not None:
            valid = np.asarray(mask, bool)[:, rows, cols].any(axis=0, keepdims=True)
            pixel_blocks["output_mask"] = valid.astype("u1")
        return pixel_blocks

    def _classify(self, pixels: np.ndarray) -> np.ndarray:
        import torch

        spec = self._model.spec
        height, width = pixels.shape[1:]
        image = prepared_image(pixels, self._model)
        with torch.inference_mode():
            logits = self._model.network(torch.from_numpy(image[None]).to(self._device))
            scores = self._model.probabilities(logits)[0].cpu().numpy()  # (K, H, W)
        if not self._background and spec.output_values[0] == 0:
            scores[0] = -1.0
        values = np.asarray(spec.output_values)
        return values[scores.argmax(axis=0)][:height, :width]

    def _attribute_table(self) -> dict[str, Any]:
        rows = [
            {
                "attributes": {
                    "OID": place,
                    "Value": info.value,
                    "Class": info.name,
                    "Red": info.color[0],
                    "Green": info.color[1],
                    "Blue": info.color[2],
                }
            }
            for place, info in enumerate(self._model.spec.classes, start=1)
        ]
        kinds = {"OID": "OID", "Class": "String"}
        names = ("OID", "Value", "Class", "Red", "Green", "Blue")
        fields = [
            {"name": name, "type": f"esriFieldType{kinds.get(name, 'Integer')}", "alias": name}
            for name in names
        ]
        return {"fields": fields, "features": rows}


_FUNCTIONS = {
    Task.PIXELS: ("rasterloom.pipeline.packages.esri", "PixelFunction"),
    Task.OBJECTS: ("rasterloom.pipeline.packages.esri_objects", "ObjectFunction"),
    Task.SCENES: ("rasterloom.pipeline.packages.esri_scenes", "SceneFunction"),
}
"""Module and class that a package's script inherits from."""


def inference_script(row: AdapterRow) -> str:
    """The text of the script that a package of this model class holds."""
    module, function = _FUNCTIONS[row.task]
    name = row.inference_function.removesuffix(".py")
    return (
        '"""Python raster function of this model; rasterloom must be installed where it runs."""\n\n'
        f"from {module} import {function}\n\n\n"
        f"class {name}({function}):\n"
        '    """Found by the host through the name of this file."""\n'
    )


def opened_model(**kwargs: Any) -> tuple[Any, "torch.device"]:
    """The model of ``model`` (path of the .emd) and its device (GPU number, -1 CPU, -2 any)."""
    import torch

    number = int(kwargs.get("device", -1))
    if number == _CHOOSE_DEVICE:
        number = 0 if torch.cuda.is_available() else -1
    device = torch.device("cpu" if number < 0 else f"cuda:{number}")
    # the host runs the script of the package, so its network is no more to be feared
    return build_model(load_package(kwargs["model"], trust=True), str(device)), device


def prepared_image(pixels: np.ndarray, model: Any) -> np.ndarray:
    """Pixels (C, H, W) as the network takes them, float32, with sides filled up to what it can take."""
    scaling = model.spec.normalization
    mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (scaling.mean, scaling.std))
    image = (pixels.astype(np.float32) - mean) / std
    height, width = image.shape[1:]
    multiple = model.tile_multiple
    return np.pad(image, ((0, 0), (0, -height % multiple), (0, -width % multiple)), mode="edge")


def parameter(
    name: str, kind: str, value: str | None, title: str, text: str, *, required: bool = True
) -> dict[str, Any]:
    """One of the things that the host asks its user for."""
    return {
        "name": name,
        "dataType": kind,
        "value": value,
        "required": required,
        "displayName": title,
        "description": text,
    }


def _pixel_type(values: tuple[int, ...]) -> str:
    return np.min_scalar_type(max(values)).str[1:]  # u1, u2 or u4
