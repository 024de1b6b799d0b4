"""Chips with classes, split and ready to train on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rasterloom.models.contract import ClassInfo, ModelSpec, Normalization, Task
from rasterloom.pipeline.datasets.augment import Augmentation
from rasterloom.pipeline.datasets.batches import Batches, EpochOrder, Preparation, Transform
from rasterloom.pipeline.datasets.pictures import draw_chips, new_figure
from rasterloom.pipeline.datasets.pixels import PixelChips

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageryData:
    """What :func:`~rasterloom.pipeline.datasets.prepare.prepare_data` returns."""

    train: PixelChips
    """Chips to train on; ``train.indices`` are their places in the store."""
    valid: PixelChips
    """Chips to validate with."""
    classes: tuple[ClassInfo, ...]
    """In ascending value, with the caller's names."""
    class_pixels: Mapping[int, int]
    """Labelled pixels of each class value over all chips; 0 counts the pixels without a class."""
    bands: tuple[str, ...]
    """Names of the bands that are used."""
    normalization: Normalization
    """In the chips' pixel units, one number for each used band."""
    window: tuple[int, int] | None
    """Height and width cut from each chip; None takes whole chips."""
    batch_size: int
    seed: int
    working_dir: Path
    """Where checkpoints and logs go."""
    num_workers: int = 0
    augmentation: Augmentation | None = None
    """The default changes of training chips; None when the caller brings transforms or wants none."""
    transforms: tuple[Transform | None, Transform | None] = (None, None)
    """The caller's own changes of training and validation batches."""
    collate_fn: Callable[[Any], Any] | None = field(default=None, repr=False)

    @property
    def dtype(self) -> str:
        """Pixel type of the chips."""
        return str(self.train.source.spec.dtype)

    @property
    def chip_size(self) -> int:
        """Side in pixels of what the network is trained on; the shorter one of chips that are not square."""
        return min(self.window or self.train.source.spec.tile)

    @property
    def extract_bands(self) -> tuple[int, ...]:
        """0-based positions of the used bands in the raster."""
        return self.train.bands

    @property
    def output_values(self) -> tuple[int, ...]:
        """Class value of each network output: 0 first, then the classes in ascending value."""
        return (0, *(c.value for c in self.classes if c.value != 0))

    def __repr__(self) -> str:
        names = ", ".join(f"{c.value} {c.name}" for c in self.classes)
        return (
            f"ImageryData: {len(self.train)} chips to train, {len(self.valid)} to validate, "
            f"{self.chip_size} px, {len(self.bands)} bands of {self.dtype}; classes: {names}"
        )

    def spec_for(self, model_name: str, parameters: Mapping[str, Any]) -> ModelSpec:
        """Everything a model needs to know of this data.

        Parameters
        ----------
        model_name
            Name of the model's class in the catalog.
        parameters
            The model's settings, JSON-able; they stand in the result unchanged.
        """
        store = self.train.source.spec
        return ModelSpec(
            model=model_name,
            task=Task.PIXELS,
            bands=self.bands,
            extract_bands=self.extract_bands,
            dtype=self.dtype,
            normalization=self.normalization,
            tile_size=self.chip_size,
            classes=self.classes,
            cell_size=(float(store.cell_size[0]), float(store.cell_size[1])),
            crs=str(store.crs),
            parameters=dict(parameters),
        )

    def train_loader(
        self,
        *,
        device: torch.device | None = None,
        seed: int | None = None,
        iterations: int | None = None,
        batch_size: int | None = None,
    ) -> Batches:
        """Shuffled, randomly cropped and augmented batches of the training chips.

        Parameters
        ----------
        device
            Where the batches are made; None is the CPU.
        seed
            Decides order, crops and changes together with the epoch; None takes the data's own.
        iterations
            Batches in an epoch; None is one pass over the chips.
        batch_size
            Chips in a batch; None takes the data's own.
        """
        seed = self.seed if seed is None else seed
        return self._batches(
            self.train,
            EpochOrder(
                len(self.train),
                batch_size=batch_size or self.batch_size,
                seed=seed,
                shuffle=True,
                iterations=iterations,
            ),
            Preparation(
                normalization=self.normalization,
                size=self.window,
                random=True,
                augmentation=self.augmentation,
                transform=self.transforms[0],
            ),
            seed,
            device,
        )

    def valid_loader(self, *, device: torch.device | None = None, batch_size: int | None = None) -> Batches:
        """The validation chips in order, the middle of each, unchanged but for the caller's own transform."""
        order = EpochOrder(
            len(self.valid), batch_size=batch_size or self.batch_size, seed=self.seed, shuffle=False
        )
        prepare = Preparation(
            normalization=self.normalization, size=self.window, random=False, transform=self.transforms[1]
        )
        return self._batches(self.valid, order, prepare, self.seed, device)

    def show_batch(self, rows: int = 3, **kwargs: Any) -> "Figure":
        """A picture of training chips as the network gets them, their classes laid over them.

        Parameters
        ----------
        rows
            Rows of four chips.
        kwargs
            ``rgb_bands``: three names or positions of bands; ``statistics_percent``: percentiles that become
            black and white, such as ``(2, 98)``; ``alpha``: opacity of the classes, 0..1.
        """
        images, targets = next(iter(self.train_loader(batch_size=4 * max(1, rows))))
        figure = new_figure(rows=-(-len(images) // 4), columns=4)
        draw_chips(
            figure,
            images.cpu().numpy(),
            targets.cpu().numpy(),
            bands=self.bands,
            classes=self.classes,
            **kwargs,
        )
        return figure

    def _batches(
        self,
        chips: PixelChips,
        order: EpochOrder,
        prepare: Preparation,
        seed: int,
        device: torch.device | None,
    ) -> Batches:
        return Batches(
            chips,
            order=order,
            prepare=prepare,
            seed=seed,
            workers=self.num_workers,
            device=device,
            collate=self.collate_fn,
        )
