"""Inference functions of other authors, as tests write them: a script, a description, weights beside them."""

import json
from pathlib import Path
from typing import Any

from rasterloom.pipeline.functions.files import FunctionFiles
from rasterloom.pipeline.packages.archive import write_archive

THRESHOLD = '''
import json


class Threshold:
    """1 where a band is above a limit, else 2."""

    def initialize(self, **kwargs):
        with open(kwargs["model"]) as file:
            self.emd = json.load(file)

    def getParameterInfo(self):
        return [
            {"name": "raster", "dataType": "raster", "value": None, "required": True},
            {"name": "model", "dataType": "string", "value": None, "required": True},
            {"name": "limit", "dataType": "numeric", "value": 120, "required": False},
            {"name": "side", "dataType": "string", "value": "above", "required": True,
             "domain": ("above", "below")},
        ]

    def getConfiguration(self, **scalars):
        self.limit, self.below = float(scalars["limit"]), scalars["side"] == "below"
        return {"extractBands": (1,), "padding": 0, "tx": 48, "ty": 32, "fixedTileSize": 1}

    def updateRasterInfo(self, **kwargs):
        kwargs["output_info"]["bandCount"] = 1
        kwargs["output_info"]["pixelType"] = "u1"
        kwargs["output_info"]["rasterAttributeTable"] = json.dumps({"features": [
            {"attributes": {"OID": 1, "Value": 1, "Class": "high", "Red": 250, "Green": 1, "Blue": 2}},
            {"attributes": {"OID": 2, "Value": 2, "Class": "low", "Red": 3, "Green": 4, "Blue": 5}},
        ]})
        return kwargs

    def updatePixels(self, tlc, shape, props, **pixelBlocks):
        above = pixelBlocks["raster_pixels"][0] > self.limit
        pixelBlocks["output_pixels"] = ((above == self.below) + 1).astype("u1")[None]
        return pixelBlocks
'''

MEAN = '''
from smoothing import mean_around


class Mean:
    """The mean of a neighbourhood, as floating point, one band for each of the raster's."""

    def getParameterInfo(self):
        return [
            {"name": "raster", "dataType": "rasters", "value": None, "required": True},
            {"name": "model", "dataType": "string", "value": None, "required": True},
            {"name": "radius", "dataType": "numeric", "value": "3", "required": False},
        ]

    def getConfiguration(self, **scalars):
        self.radius = int(scalars["radius"])
        return {"padding": self.radius, "tx": 40, "ty": 24}

    def updateRasterInfo(self, **kwargs):
        kwargs["output_info"]["pixelType"] = "f4"
        return kwargs

    def updatePixels(self, tlc, shape, props, **pixelBlocks):
        return {"output_pixels": mean_around(pixelBlocks["raster_pixels"][0], self.radius)}
'''
SMOOTHING = """
import numpy as np


def mean_around(pixels, radius):
    side = 2 * radius + 1
    windows = np.lib.stride_tricks.sliding_window_view(pixels.astype("f8"), (side, side), axis=(1, 2))
    return windows.mean(axis=(3, 4)).astype("f4")
"""

PLACES = '''
import arcpy
import numpy as np


class Places:
    """Row and column of every pixel, worked out from where the tile is; it changes what it is given."""

    def initialize(self, **kwargs):
        arcpy.env.processorType = "CPU"
        self.device = kwargs["device"]

    def getConfiguration(self, **scalars):
        return {"extractBands": [0], "padding": 5, "tx": 27, "ty": 27}

    def updateRasterInfo(self, **kwargs):
        kwargs["output_info"].update(bandCount=3, pixelType="i4")
        return kwargs

    def updatePixels(self, tlc, shape, props, **pixelBlocks):
        height, width = shape[1:]
        cols, rows = np.meshgrid(np.arange(width) + tlc[0], np.arange(height) + tlc[1])
        x = props["extent"][0] + (cols + 0.5) * props["cellSize"][0]
        y = props["extent"][3] - (rows + 0.5) * props["cellSize"][1]
        east, south = x - props["extent"][0], props["extent"][3] - y
        pixels, mask = pixelBlocks["raster_pixels"], pixelBlocks["raster_mask"]
        seen = pixels[0, 5:-5, 5:-5].copy()
        kept = mask[:, 5:-5, 5:-5] * (seen > 60)
        pixels[:], mask[:] = 0, 0
        props.clear()
        pixelBlocks["output_pixels"] = np.stack([south, east, seen])
        pixelBlocks["output_mask"] = np.broadcast_to(kept, (3, height, width))
        return pixelBlocks
'''

BOXES = '''
import json

import numpy as np


class Boxes:
    """A box around the pixels of a tile that are above a limit."""

    def getConfiguration(self, **scalars):
        return {"extractBands": (0,), "padding": 8, "tx": 32, "ty": 32}

    def getFields(self):
        return json.dumps({"fields": [
            {"name": "OID", "type": "esriFieldTypeOID", "alias": "OID"},
            {"name": "Class", "type": "esriFieldTypeString", "alias": "Class"},
            {"name": "Confidence", "type": "esriFieldTypeDouble", "alias": "Confidence"},
        ]})

    def getGeometryType(self):
        return 4

    def vectorize(self, **pixelBlocks):
        rows, cols = np.nonzero(pixelBlocks["raster_pixels"][0] > 200)
        features = []
        if len(rows):
            left, right = int(cols.min()) - 8, int(cols.max()) + 1 - 8
            top, bottom = int(rows.min()) - 8, int(rows.max()) + 1 - 8
            ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
            features.append({
                "attributes": {"OID": 1, "Class": "bright", "Confidence": 87.5},
                "geometry": {"rings": [ring]},
            })
        return {"output_vectors": json.dumps({"features": features})}
'''


def write_function(
    folder: Path, name: str, script: str, *, beside: dict[str, str] | None = None, **emd: Any
) -> Path:
    """A folder with a description and a script called ``name``; says where the description is."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(script)
    for other, text in (beside or {}).items():
        (folder / other).write_text(text)
    path = folder / f"{name.lower()}.emd"
    path.write_text(json.dumps({"Framework": "Custom", "InferenceFunction": f"{name}.py"} | emd))
    return path


def pack(emd: Path) -> Path:
    """The folder of a description as one file beside it."""
    target = emd.parent.with_suffix(".dlpk")
    write_archive(target, {f.name: f for f in emd.parent.iterdir() if f.is_file()})
    return target


def function_files(
    name: str, script: str, *, beside: dict[str, str] | None = None, **emd: Any
) -> FunctionFiles:
    """The same in memory."""
    members = {f"{name}.py": script, "model.emd": json.dumps(emd), **(beside or {})}
    content: dict[str, Path | bytes] = {key: text.encode() for key, text in members.items()}
    return FunctionFiles(content, emd, "model.emd", f"{name}.py", f"{name.lower()}.dlpk")
