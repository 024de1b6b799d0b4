"""What a package of any author says of its model."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rasterloom.pipeline.packages.finding import Described
from rasterloom.pipeline.packages.load import package_of
from rasterloom.pipeline.packages.manifest import SECTION

_FIGURES = ("accuracy", "per_class_metrics", "average_precision_score")


def package_info(name: str, described: Described) -> dict[str, Any]:
    """The essential settings, JSON-able; None where the package does not say.

    Raises
    ------
    PackageError
        If it is a package of ours that is not whole.
    """
    emd = described.emd
    told: dict[str, Any] = {
        "name": name,
        "model": emd.get("ModelName"),
        "model_type": emd.get("ModelType"),
        "framework": emd.get("Framework"),
        "inference_function": emd.get("InferenceFunction"),
        "extract_bands": _listed(emd.get("ExtractBands")),
        "tile_size": _number(emd.get("ImageHeight")),
        "classes": _classes(emd.get("Classes")),
        "parameters": emd.get("ModelParameters"),
        "trained": _figures(emd),
    }
    if SECTION in emd:
        return {**told, **_of_ours(described), "by_rasterloom": True}
    return {
        **told,
        "bands": _listed(emd.get("Bands")),
        "cell_size": None,
        # its network and its script are both its author's code
        "needs_trust": True,
        "by_rasterloom": False,
    }


def _of_ours(described: Described) -> dict[str, Any]:
    package = package_of(described)
    spec, history = package.spec, package.history
    trained = {"epochs": len(history), "learning_rate": history.learning_rate}
    return {
        "task": str(spec.task),
        "bands": list(spec.bands),
        "extract_bands": list(spec.extract_bands),
        "dtype": spec.dtype or None,
        "cell_size": list(spec.cell_size) if all(spec.cell_size) else None,
        "tile_size": spec.tile_size,
        "classes": [{"value": c.value, "name": c.name, "color": list(c.color)} for c in spec.classes],
        "parameters": dict(spec.parameters),
        "trained": {**trained, **_figures(described.emd)},
        "needs_trust": package.needs_trust,
    }


def _figures(emd: Mapping[str, Any]) -> dict[str, Any]:
    """How good it is; what stands there as JSON text is read."""
    found = {key: emd[key] for key in _FIGURES if key in emd}
    for key, value in found.items():
        if isinstance(value, str):
            with suppress(ValueError):
                found[key] = json.loads(value)
    return found


def _classes(classes: Any) -> list[dict[str, Any]] | None:
    """Classes under either of the two names that their keys go by; None for a hint instead of a list."""
    if not isinstance(classes, list):
        return None
    return [
        {
            "value": row.get("Value", row.get("ClassValue")),
            "name": row.get("Name", row.get("ClassName")),
            "color": row.get("Color"),
        }
        for row in classes
        if isinstance(row, Mapping)
    ]


def _listed(value: Any) -> list[Any] | None:
    return list(value) if isinstance(value, list) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
