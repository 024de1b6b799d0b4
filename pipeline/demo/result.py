"""What a demo leaves behind, as a value and as metrics.json."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasterloom.models.errors import OutputError
from rasterloom.models.history import History
from rasterloom.pipeline.reports.accuracy import PixelAccuracy


@dataclass(frozen=True)
class CogFacts:
    """The class map as a file."""

    path: Path
    valid: bool
    """Whether rio-cogeo finds nothing wrong with it."""
    problems: tuple[str, ...]
    """What rio-cogeo says, warnings included."""
    size: tuple[int, int]
    """Height and width in pixels."""
    bytes: int


@dataclass(frozen=True)
class DemoResult:
    """What :func:`rasterloom.pipeline.demo.run.run_demo` made."""

    folder: Path
    raster: Any
    """What was classified."""
    labels: Any
    generated: bool
    """Whether the scene is the generated one."""
    chips: Path
    """The chip store."""
    chip_count: int
    package: Path
    """The trained model, a .dlpk file."""
    model_arguments: Mapping[str, Any]
    """What ``classify_pixels`` made the class map with."""
    class_map: Path
    """The COG."""
    cog: CogFacts
    history: History
    """The training table."""
    accuracy: PixelAccuracy
    """On the rows that were not trained on."""
    seconds: Mapping[str, float]
    """Of each stage."""
    metrics: Path
    report: Path

    @property
    def mean_iou(self) -> float:
        """Mean intersection over union on the rows that were not trained on, 0..1."""
        return self.accuracy.mean_iou

    def to_json(self) -> dict[str, Any]:
        """What stands in metrics.json. Paths are relative to the folder."""
        judged = self.accuracy.to_json()
        return {
            "mean_iou": judged["mean_iou"],
            "mean_f1": judged["mean_f1"],
            "accuracy": judged["accuracy"],
            "per_class": judged["per_class"],
            "pixels_judged": judged["pixels"],
            "background_counted": judged["background"],
            "confusion": judged["confusion"],
            "seconds": {**self.seconds, "total": round(sum(self.seconds.values()), 2)},
            "chips": self.chip_count,
            "cog": {
                "path": self.cog.path.name,
                "valid": self.cog.valid,
                "problems": list(self.cog.problems),
                "height": self.cog.size[0],
                "width": self.cog.size[1],
                "bytes": self.cog.bytes,
            },
            "generated_scene": self.generated,
            "training": self.history.to_json(),
        }


def write_metrics(result: DemoResult) -> None:
    """Write ``result.metrics`` whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    part = result.metrics.with_name(f".{result.metrics.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(result.to_json(), indent=2) + "\n", "utf-8")
        part.replace(result.metrics)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{result.metrics} cannot be written: {error}.") from error
