import dataclasses

from rasterloom.models.data import TrainingData
from rasterloom.pipeline.datasets.data import ImageryData


def test_prepared_data_has_what_a_model_asks_for():
    asked = {name for name in vars(TrainingData) if not name.startswith("_")}
    own = {field.name for field in dataclasses.fields(ImageryData)} | set(vars(ImageryData))
    assert asked == {"class_pixels", "normalization", "object_sizes", "working_dir", "spec_for"}
    assert asked <= own
