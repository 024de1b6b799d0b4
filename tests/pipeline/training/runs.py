"""Short runs of fit, and what they leave."""

import torch

from rasterloom.pipeline.training.fit import fit


def weights(model):
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def quick(model, data, **kwargs):
    return fit(model, data, **{"epochs": 2, "lr": 0.01, "show_progress": False, **kwargs})


def run_folder(data):
    (folder,) = (data.working_dir / "checkpoints").iterdir()
    return folder
