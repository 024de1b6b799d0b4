"""What is known of a model that is to be saved: figures and pictures of its training and its results."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rasterloom.models.services import service
from rasterloom.pipeline.metrics.pixels import Confusion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rasterloom.models.ready import ReadyModel

LOSSES = "loss_graph.png"
RESULTS = "show_results.png"
_SHOWN = 4
"""Chips in the picture of results."""


@dataclass(frozen=True)
class Findings:
    """Figures and pictures for a package."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """Entries of this kind of model for the description, JSON-able."""
    confusion: Confusion | None = None
    """Pixels of the validation set, truth against prediction."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What the training data was, as :func:`~rasterloom.pipeline.datasets.facts.data_facts` tells it."""
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    """PNG files by name."""


def gather_findings(model: "ReadyModel", *, compute_metrics: bool, pictures: bool) -> Findings:
    """Everything that can be told of a model.

    Parameters
    ----------
    compute_metrics
        Judge it on its validation set, where it has data.
    pictures
        Draw its losses and, with ``compute_metrics``, some of its results.
    """
    facts = dict(model.package_facts(compute_metrics=compute_metrics))
    counted = facts.pop("confusion", None)
    drawn: dict[str, bytes] = {}
    if pictures and model.history.rows:
        drawn[LOSSES] = _png(service("plot_losses")(model.history))
    data = getattr(model, "data", None)
    if pictures and compute_metrics and data is not None:
        drawn[RESULTS] = _png(service("show_results")(model, data, rows=_SHOWN))
    return Findings(
        facts,
        confusion=None if counted is None else Confusion.from_json(counted),
        data={} if data is None or not pictures else service("describe_data")(data),
        pictures=drawn,
    )


def _png(figure: "Figure") -> bytes:
    picture = io.BytesIO()
    # matplotlib's version would make equal models differ
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    return picture.getvalue()
