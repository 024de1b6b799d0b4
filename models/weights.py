"""Whether a saved model belongs to this one, and putting its tensors into the network."""

from collections.abc import Mapping

from torch import Tensor, nn

from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import ModelMismatchError

_SHOWN = 5
"""How many names a message lists."""


def check_same_outputs(given: ModelSpec, wanted: ModelSpec) -> None:
    """Refuse two models that differ in kind, number of bands or classes.

    Raises
    ------
    ModelMismatchError
        Naming what differs.
    """
    for what, one, other in (
        ("model", given.model, wanted.model),
        ("number of bands", given.band_count, wanted.band_count),
        ("class values", given.output_values, wanted.output_values),
    ):
        if one != other:
            raise ModelMismatchError(
                f"they do not belong together: the {what} here is {one}, there {other}. "
                "load(path, strict=False) takes only the weights that fit."
            )


def put_weights(network: nn.Module, tensors: Mapping[str, Tensor], *, strict: bool = True) -> int:
    """Copy tensors into a network by name; nothing is changed when that cannot be done.

    Parameters
    ----------
    strict
        Whether every tensor of the network must be given, in its shape, and no other. False takes those that
        fit and leaves the rest of the network as it is.

    Returns
    -------
    int
        How many tensors were copied.

    Raises
    ------
    ModelMismatchError
        If they do not fit; the message lists names and shapes. With ``strict=False``, if none fits.
    """
    own = network.state_dict()
    fitting = {name: t for name, t in tensors.items() if name in own and t.shape == own[name].shape}
    problems = _problems(own, tensors)
    if strict and problems:
        raise ModelMismatchError(f"the weights do not belong to this network: {'; '.join(problems)}.")
    if not fitting:
        raise ModelMismatchError("none of the weights fits this network: it has another backbone or shape.")
    network.load_state_dict({**own, **fitting})
    return len(fitting)


def _problems(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    missing = sorted(own.keys() - tensors.keys())
    foreign = sorted(tensors.keys() - own.keys())
    shapes = [
        f"{name} is {tuple(tensors[name].shape)} and should be {tuple(own[name].shape)}"
        for name in sorted(own.keys() & tensors.keys())
        if own[name].shape != tensors[name].shape
    ]
    labelled = (("missing", missing), ("unknown", foreign), ("wrong shape", shapes))
    return [f"{label}: {_listed(names)}" for label, names in labelled if names]


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
