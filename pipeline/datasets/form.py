"""What the chips of one task become: batches, and pictures of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rasterloom.models.contract import ClassInfo, Task
from rasterloom.pipeline.datasets.augment import Augmentation, Turns
from rasterloom.pipeline.datasets.moving import Seen


@dataclass(frozen=True)
class Legend:
    """What pictures of a batch need to know."""

    bands: tuple[str, ...]
    bands2: tuple[str, ...]
    classes: tuple[ClassInfo, ...]
    """Of masks or chip labels, ascending."""
    object_classes: tuple[ClassInfo, ...] = ()
    """Of objects, ascending: the class at position 1 first."""


class Form(ABC):
    """How the chips of one task are read, joined to batches and drawn."""

    task: Task
    parts: frozenset[str] = frozenset()
    """What is read besides images: ``masks``, ``images2``, ``objects``, ``labels``."""
    background: bool = True
    """Whether output 0 belongs to no class."""
    cut: bool = True
    """Whether ``chip_size`` has an effect."""
    resizable: bool = False
    """Whether ``resize_to`` has an effect."""
    whole_labels: bool = False
    """Whether each chip has one class of its own."""
    several_labels: bool = False
    """Whether it can have more of them."""
    panels: int = 1
    """Pictures of each chip, side by side."""

    def augmentation(self, turns: Turns) -> Augmentation:
        """The usual random changes of training chips."""
        return Augmentation(turns=turns)

    def window(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width that are cut from chips of ``size`` when nothing else is asked for."""
        return size

    @abstractmethod
    def join(self, seen: Seen) -> Any:
        """A batch as a network takes it: inputs and targets."""

    @abstractmethod
    def draw(self, panels: Sequence[Any], batch: Any, legend: Legend, **kwargs: Any) -> None:
        """Fill matplotlib axes with the chips of a batch, ``self.panels`` of them for each chip."""
