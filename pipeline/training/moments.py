"""The running means that an optimiser has gathered, kept from one run to the next."""

from typing import Any

import torch

from rasterloom.models.imagery import ImageryModel


def keep_moments(model: ImageryModel, state: dict[str, Any] | None) -> None:
    """Leave an optimiser's state at the model, on the CPU, as ``model.optimizer_state``."""
    model.optimizer_state = None if state is None else _on_cpu(state)


def take_moments(optimizer: torch.optim.Optimizer, model: ImageryModel) -> None:
    """Give an optimiser the running means that a model has kept, if they are of the same layers.

    Rates are not taken over: they belong to a run.
    """
    kept = getattr(model, "optimizer_state", None)
    if not kept or not kept.get("state") or not _fits(optimizer, kept):
        return
    new = optimizer.state_dict()
    optimizer.load_state_dict({"state": kept["state"], "param_groups": new["param_groups"]})


def _fits(optimizer: torch.optim.Optimizer, kept: dict[str, Any]) -> bool:
    """Whether the weights are cut into the same groups and each is of the same shape."""
    now = optimizer.param_groups
    if [len(group["params"]) for group in now] != [len(group["params"]) for group in kept["param_groups"]]:
        return False
    numbers = [number for group in kept["param_groups"] for number in group["params"]]
    weights = [weight for group in now for weight in group["params"]]
    return all(
        kept["state"][number]["exp_avg"].shape == weight.shape
        for number, weight in zip(numbers, weights, strict=True)
        if number in kept["state"]
    )


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {key: _on_cpu(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_on_cpu(part) for part in value)
    return value
