"""The description of a model package: a ``ModelSpec`` as the keys of an ``.emd`` file, and back."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

from rasterloom.models.catalog import find_adapter
from rasterloom.models.contract import IMAGENET_MEAN, IMAGENET_STD, ModelSpec, Normalization
from rasterloom.models.errors import PackageError, SettingError
from rasterloom.models.history import History

FORMAT_VERSION = 1
"""Version of the ``Rasterloom`` section."""
SECTION = "Rasterloom"
FRAMEWORK = "PyTorch"


@dataclass(frozen=True)
class Manifest:
    """What an ``.emd`` file of ours says."""

    spec: ModelSpec
    model_file: str
    """Path of the weights relative to the ``.emd``, with forward slashes."""
    history: History
    """The training table."""
    files: tuple[str, ...] = ()
    """Further files that the model is made of, relative to the ``.emd``, with forward slashes."""
    optimizer: str | None = None
    """Path of the optimiser's state, where there is one."""


def to_emd(
    spec: ModelSpec,
    *,
    model_file: str,
    history: History,
    facts: Mapping[str, Any],
    inference_function: str | None,
    files: Sequence[str] = (),
    optimizer: str | None = None,
) -> dict[str, Any]:
    """The dictionary to write as ``.emd``: the exchanged keys, and our own section that alone is read back.

    Parameters
    ----------
    model_file
        Name of the weights beside the ``.emd``.
    facts
        Further entries of this kind of model; a mapping among them is written as JSON text.
    inference_function
        Name of the inference script beside the ``.emd``, or None without one.
    files
        Names of further files beside the ``.emd`` that the model is made of.
    optimizer
        Name of the file with the optimiser's state, or None without one.
    """
    row = find_adapter(spec.model)
    emd: dict[str, Any] = {
        "Framework": FRAMEWORK,
        "ModelConfiguration": row.configuration,
        "ModelType": row.model_type,
        "ModelName": spec.model,
        "ModelFile": model_file,
        "ModelFormat": "NCHW",
        "ExtractBands": list(spec.extract_bands),
        "Classes": [{"Value": c.value, "Name": c.name, "Color": list(c.color)} for c in spec.classes],
        "ImageHeight": spec.tile_size,
        "ImageWidth": spec.tile_size,
        "ImageSpaceUsed": "MAP_SPACE",
        "SupportsVariableTileSize": True,
        **_cell_sizes(spec),
        "ModelParameters": {**spec.parameters, "backend": "pytorch"},
        "backend": "pytorch",
        "resize_to": None,
        **_scaling(spec),
        **{name: _exchanged(value) for name, value in facts.items()},
    }
    if history.learning_rate is not None:
        emd["LearningRate"] = f"{history.learning_rate:.2e}"
    if inference_function is not None:
        emd["InferenceFunction"] = inference_function
    emd[SECTION] = {"FormatVersion": FORMAT_VERSION, "Spec": spec.to_json(), "History": history.to_json()}
    if files:
        emd[SECTION]["Files"] = sorted(files)
    if optimizer is not None:
        emd[SECTION]["Optimizer"] = optimizer
    return emd


def from_emd(emd: Mapping[str, Any], *, source: str) -> Manifest:
    """Read our own section of an ``.emd``.

    Parameters
    ----------
    source
        What messages call the package.

    Raises
    ------
    PackageError
        If it was written by other software or a newer version, or lacks an entry; the message says which.
    """
    section = emd.get(SECTION)
    if not isinstance(section, Mapping):
        raise PackageError(
            f"{source} was not written by rasterloom: its .emd has no {SECTION} section (Framework "
            f"{emd.get('Framework', 'not given')!r}, ModelName {emd.get('ModelName', 'not given')!r}). "
            "Give a package that was saved with model.save. One that brings an inference function of its own "
            "is run by classify_pixels(..., trust=True), which takes its path."
        )
    version = section.get("FormatVersion")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise PackageError(
            f"{source} has format version {version!r}, and this rasterloom reads up to {FORMAT_VERSION}: "
            "use a newer one."
        )
    try:
        spec = ModelSpec.from_json(section["Spec"])
        history = History.from_json(section["History"])
        find_adapter(spec.model)
        _check_bands(spec)
        model_file, optimizer = emd["ModelFile"], section.get("Optimizer")
        files = list(section.get("Files", ()))
    except KeyError as error:
        raise PackageError(f"{source} is damaged: its .emd lacks {error}.") from error
    except (SettingError, TypeError, ValueError, IndexError) as error:
        raise PackageError(f"{source} is damaged: its .emd cannot be read ({error}).") from error
    return Manifest(
        spec,
        relative_name(model_file, source=source),
        history,
        files=tuple(relative_name(name, source=source) for name in files),
        optimizer=None if optimizer is None else relative_name(optimizer, source=source),
    )


def dump_emd(emd: Mapping[str, Any]) -> bytes:
    """The bytes of an ``.emd`` file."""
    return json.dumps(emd, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def parse_emd(text: bytes, *, source: str) -> dict[str, Any]:
    """The dictionary in the bytes of an ``.emd`` file.

    Raises
    ------
    PackageError
        If the bytes are no JSON object.
    """
    try:
        emd = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # a wrong encoding is a ValueError too
        raise PackageError(f"{source} is damaged: its .emd is no JSON ({error}).") from error
    if not isinstance(emd, dict):
        raise PackageError(f"{source} is damaged: its .emd holds no JSON object.")
    return emd


def relative_name(name: Any, *, source: str) -> str:
    """A path inside a package with forward slashes and without a leading ``./``.

    Raises
    ------
    PackageError
        If it is no text, is absolute, or climbs out of the package.
    """
    plain = name.replace("\\", "/") if isinstance(name, str) else ""
    parts = [part for part in plain.split("/") if part != "."]
    if (
        not plain
        or plain.startswith("/")
        or not all(parts)
        or ".." in parts
        or ":" in parts[0]
        or "\0" in plain
    ):
        raise PackageError(f"{source} names {name!r}, which is no path inside the package.")
    return "/".join(parts)


def _check_bands(spec: ModelSpec) -> None:
    counts = {len(spec.bands), len(spec.extract_bands), len(spec.normalization.mean)}
    if counts != {spec.band_count} or not spec.bands or min(spec.extract_bands) < 0:
        raise SettingError("its bands, their positions and their scaling do not belong together")


def _scaling(spec: ModelSpec) -> dict[str, Any]:
    if _is_imagenet(spec):
        return {"IsMultispectral": False, "IsImageNetNormalization": True}
    return {
        "IsMultispectral": True,
        "IsImageNetNormalization": False,
        "ImageryType": "multispectral",
        "Bands": list(spec.bands),
        "DoNormalize": True,
        "NormalizationStats": normalization_stats(spec.normalization, spec.dtype),
    }


def _is_imagenet(spec: ModelSpec) -> bool:
    wanted = Normalization(tuple(255 * m for m in IMAGENET_MEAN), tuple(255 * s for s in IMAGENET_STD))
    pairs = zip(
        spec.normalization.mean + spec.normalization.std, wanted.mean + wanted.std, strict=False
    )  # a different length is told by the band count
    return spec.band_count == 3 and spec.dtype == "uint8" and all(math.isclose(a, b) for a, b in pairs)


def normalization_stats(normalization: Normalization, dtype: str) -> dict[str, list[float]]:
    """The exchanged form of our scaling.

    Readers first map Min..Max to 0..1 and then subtract and divide by mean and deviation in these units. Any
    Min and Max give the same result when the scaled figures follow them: the pixel type's range is taken, and
    for float or unknown pixels three deviations on both sides of the mean.
    """
    mean, std = np.asarray(normalization.mean), np.asarray(normalization.std)
    if dtype and np.issubdtype(np.dtype(dtype), np.integer):
        limits = np.iinfo(dtype)
        low, high = np.full_like(mean, limits.min), np.full_like(mean, limits.max)
    else:
        low, high = mean - 3 * std, mean + 3 * std
    span = high - low
    stats = {
        "band_min_values": low,
        "band_max_values": high,
        "band_mean_values": mean,
        "band_std_values": std,
        "scaled_min_values": np.zeros_like(mean),
        "scaled_max_values": np.ones_like(mean),
        "scaled_mean_values": (mean - low) / span,
        "scaled_std_values": std / span,
    }
    return {name: values.astype(float).tolist() for name, values in stats.items()}


def _cell_sizes(spec: ModelSpec) -> dict[str, Any]:
    if not all(spec.cell_size):
        return {}
    size = {"x": spec.cell_size[0], "y": spec.cell_size[1], "spatialReference": _spatial_reference(spec.crs)}
    return {"MinCellSize": size, "MaxCellSize": size}


def _spatial_reference(crs: str) -> dict[str, Any]:
    try:
        code = CRS.from_user_input(crs).to_epsg()
    except CRSError:
        return {"wkt": crs}
    return {"wkt": crs} if code is None else {"wkid": code, "latestWkid": code}


def _exchanged(value: Any) -> Any:
    return json.dumps(_finite(value)) if isinstance(value, Mapping) else _finite(value)


def _finite(value: Any) -> Any:
    """The value with null for numbers that are none: JSON has no word for them."""
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
