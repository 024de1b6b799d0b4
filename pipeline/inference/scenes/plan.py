"""What a classification of objects will do: pure, deterministic, small enough to send with every task."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.inference.scenes.arguments import SceneArguments
from rasterloom.pipeline.inference.scenes.chips import COUNTS
from rasterloom.pipeline.inference.wanted import Mask
from rasterloom.pipeline.rasters.raster import Raster


@dataclass(frozen=True)
class ChipBatch:
    """Some groups of chips of one file: the work of one task."""

    number: int
    """Of the file."""
    start: int
    """First group."""
    stop: int
    """One past the last group."""

    @property
    def id(self) -> str:
        return f"{self.number}_{self.start}_{self.stop}"

    @property
    def cells(self) -> int:
        return self.stop - self.start

    def halves(self) -> "tuple[ChipBatch, ChipBatch] | None":
        """The first and the second half of the groups; None when it is a single one."""
        if self.cells == 1:
            return None
        middle = (self.start + self.stop) // 2
        return ChipBatch(self.number, self.start, middle), ChipBatch(self.number, middle, self.stop)

    def cell_ids(self) -> Iterator[str]:
        return (f"{self.number}_{group}" for group in range(self.start, self.stop))


@dataclass(frozen=True, kw_only=True)
class ScenePlan:
    """Give the objects of one layer a label, by what a raster shows around them."""

    raster: Raster
    """On the grid it is read on."""
    chips: str
    """Hash of where all chips lie."""
    batch_count: int
    cell_count: int
    """Groups of chips in all tasks."""
    package: str
    """Path of the model package, where every worker can read it."""
    digest: str
    """Content hash of the model."""
    bands: tuple[int, ...]
    """0-based bands of the raster, in the network's order."""
    classes: tuple[ClassInfo, ...]
    """Those of the network's outputs, in order."""
    several: bool
    """Whether a chip is given several labels, or none."""
    arguments: SceneArguments
    device: str
    """``cpu`` or ``cuda``."""
    precision: str
    """Type of the network's arithmetic."""
    mask: Mask | None = None
    """Where the middle of an object must lie; None: everywhere."""
    tiles: Place | None = None
    """Folder that takes what tasks find out; None while there is none."""

    @property
    def id(self) -> str:
        """Hash of everything that decides about labels, and how the work is cut."""
        parts = {
            "version": 1,
            "task": "scenes",
            "raster": [self.raster.etag, asdict(self.raster.grid), self.raster.resampling],
            "chips": self.chips,
            "model": self.digest,
            "bands": self.bands,
            "classes": [asdict(info) for info in self.classes],
            "arguments": asdict(self.arguments),
            "device": [self.device, self.precision],
            "mask": self.mask and self.mask.digest,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def group(self) -> int:
        """Chips of a group."""
        return self.arguments.group(len(self.classes))

    @property
    def inputs(self) -> Place:
        """Where tasks find their chips."""
        assert self.tiles is not None, "the plan has been brought home"
        return RunFolder(self.tiles.parent).inputs

    def batches(self) -> Iterator[ChipBatch]:
        for number, count in enumerate(json.loads(self.inputs.read(COUNTS))):
            yield ChipBatch(number, 0, -(-count // self.group))
