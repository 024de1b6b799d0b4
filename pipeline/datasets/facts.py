"""Training data in figures, for those who are given the model."""

from collections.abc import Mapping
from typing import Any

from rasterloom.pipeline.datasets.data import ImageryData


def data_facts(data: Any) -> Mapping[str, Any]:
    """What a model was trained on, JSON-able; nothing for data that was not prepared here.

    Returns
    -------
    Mapping
        ``format``, ``train_chips``, ``valid_chips``, ``chip_size`` in pixels, ``dtype``, ``bands`` (name,
        minimum, maximum, mean and standard deviation of each, in the chips' units), ``cell_size`` and
        ``crs``, ``batch_size``, ``class_pixels`` by class value over all chips.
    """
    if not isinstance(data, ImageryData):
        return {}
    store, statistics = data.train.source.spec, data.statistics
    bands = [
        {"name": name, "minimum": b.minimum, "maximum": b.maximum, "mean": b.mean, "std": b.std}
        for name, b in statistics.bands.items()
    ]
    return {
        "format": str(store.metadata_format),
        "train_chips": len(data.train),
        "valid_chips": len(data.valid),
        "chip_size": data.chip_size,
        "dtype": data.dtype,
        "bands": bands,
        "cell_size": [float(side) for side in store.cell_size],
        "crs": str(store.crs),
        "batch_size": data.batch_size,
        "class_pixels": {str(value): int(count) for value, count in data.class_pixels.items()},
    }


def scene_facts(data: Any) -> Mapping[str, Any]:
    """How chips with labels of their own were cut; nothing for data that was not prepared here.

    Returns
    -------
    Mapping
        ``metadata_mode``, ``multilabel``, ``crop_size_fixed`` and ``blacken_around_feature``, as a
        FeatureClassifier keeps them.
    """
    if not isinstance(data, ImageryData):
        return {}
    store = data.train.source.spec
    return {
        "metadata_mode": str(store.metadata_format),
        "multilabel": data.form.several_labels,
        "crop_size_fixed": bool(store.parameters.get("fix_chip_size", True)),
        "blacken_around_feature": bool(store.parameters.get("blacken_around_feature", False)),
    }
