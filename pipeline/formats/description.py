"""What a folder says of all of its chips, in our own words: a chip store's attributes as a file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.formats.directory import replace_text
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.chips import LabelStats
from rasterloom.pipeline.store.layout import StoreSpec, stats_from_json, stats_to_json

DESCRIPTION = "rasterloom_spec.json"


@dataclass(frozen=True)
class Description:
    """The chips of a folder without the chips."""

    spec: StoreSpec
    chip_format: str
    stats: BandStats
    labels: LabelStats
    stats2: BandStats | None = None
    boxes_only: bool = False
    """Whether no object has an outline, though the format could hold them."""

    def write(self, folder: Path) -> None:
        """Put the description beside the chips."""
        plain = {
            **self.spec.to_json(),
            "chip_format": self.chip_format,
            "boxes_only": self.boxes_only,
            "statistics": stats_to_json(self.stats),
            "statistics2": None if self.stats2 is None else stats_to_json(self.stats2),
            "label_statistics": self.labels.to_json(),
        }
        replace_text(folder / DESCRIPTION, json.dumps(plain, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Description | None":
        """The description of a folder, or None where it has none.

        Raises
        ------
        StoreError
            If it is damaged.
        """
        path = folder / DESCRIPTION
        if not path.exists():
            return None
        try:
            plain: dict[str, Any] = json.loads(path.read_text("utf-8"))
            second = plain["statistics2"]
            return cls(
                StoreSpec.from_json(plain),
                str(plain["chip_format"]),
                stats_from_json(plain["statistics"]),
                LabelStats.from_json(plain["label_statistics"]),
                None if second is None else stats_from_json(second),
                bool(plain["boxes_only"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{path} is damaged ({error}): remove it, and the folder is read like that of other software."
            ) from error
