"""Chips with classes, split and ready to train on."""

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rasterloom.models.catalog import CATALOG
from rasterloom.models.contract import ClassInfo, ModelSpec, Normalization
from rasterloom.models.errors import ModelMismatchError
from rasterloom.pipeline.datasets.augment import Augmentation
from rasterloom.pipeline.datasets.batches import Batches
from rasterloom.pipeline.datasets.form import Form, Legend
from rasterloom.pipeline.datasets.order import EpochOrder, Order, Shares, unpaired_order
from rasterloom.pipeline.datasets.pictures import add_legend, check_stretch, new_figure
from rasterloom.pipeline.datasets.pixels import Pixels
from rasterloom.pipeline.datasets.preparation import Preparation, Scaling
from rasterloom.pipeline.datasets.prepared import PreparedChips
from rasterloom.pipeline.datasets.samples import Chips
from rasterloom.pipeline.datasets.statistics import DataStatistics, data_statistics
from rasterloom.pipeline.datasets.transforms import Transform
from rasterloom.pipeline.store.kinds import KINDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageryData:
    """What :func:`~rasterloom.pipeline.datasets.prepare.prepare_data` returns."""

    train: Chips
    """Chips to train on; ``train.indices`` are their places in the store."""
    valid: Chips
    """Chips to validate with."""
    classes: tuple[ClassInfo, ...]
    """In ascending value, with the caller's names; empty for image to image."""
    class_pixels: Mapping[int, int]
    """Labelled pixels of each class value over all chips; 0 counts the pixels without a class. Empty where
    chips have no masks."""
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
    ranges: tuple[tuple[float, ...], tuple[float, ...]] = field(repr=False)
    """Lowest and highest value of each used band."""
    form: Form = field(default_factory=Pixels)
    """How chips become batches and pictures."""
    num_workers: int = 0
    augmentation: Augmentation | None = None
    """The default changes of training chips; None when the caller brings transforms or wants none."""
    transforms: tuple[Transform | None, Transform | None] = (None, None)
    """The caller's own changes of training and validation batches."""
    collate_fn: Callable[[list[Any]], Any] | None = field(default=None, repr=False)
    object_classes: tuple[ClassInfo, ...] = ()
    """Classes of the objects of panoptic chips; elsewhere objects are of ``classes``."""
    bands2: tuple[str, ...] = ()
    """Names of the bands of second images."""
    scaling2: Scaling | None = field(default=None, repr=False)
    """How second images are scaled."""
    resize: tuple[int, int] | None = None
    """Height and width that each chip is brought to before a window is cut."""

    @property
    def dtype(self) -> str:
        """Pixel type of the chips."""
        return str(self.train.source.spec.dtype)

    @property
    def chip_size(self) -> int:
        """Side in pixels of what the network is trained on; the shorter one of chips that are not square."""
        return min(self.window or self.form.window(self.resize or self.train.source.tile))

    @property
    def extract_bands(self) -> tuple[int, ...]:
        """0-based positions of the used bands in the raster."""
        return self.train.bands

    @property
    def output_values(self) -> tuple[int, ...]:
        """Class value of each network output, ascending; 0 comes first where there is a background."""
        if not self.form.background:
            return tuple(c.value for c in self.classes)
        return (0, *(c.value for c in self.classes if c.value != 0))

    @property
    def c(self) -> int:
        """Outputs of a network for these chips: classes with the background, or bands of the target."""
        if self.classes:
            return len(self.output_values)
        return len(self.bands2 or self.bands)

    @property
    def statistics(self) -> DataStatistics:
        """Bands and labels of all chips, in figures."""
        return data_statistics(self.train.source, self.bands, self.extract_bands)

    @cached_property
    def object_sizes(self) -> np.ndarray:
        """(m, 2) width and height of the objects to train on, in pixels as the network sees them; without
        objects (0, 2)."""
        sizes = self.train.object_sizes()
        if self.resize is None:
            return sizes
        height, width = np.array(self.resize) / self.train.source.tile
        return sizes * np.array([width, height], np.float32)

    @property
    def train_ds(self) -> PreparedChips:
        """Training samples one by one: the first epoch's random views, normalised."""
        return PreparedChips(self.train, self._preparation(random=True), self.seed)

    @property
    def valid_ds(self) -> PreparedChips:
        """Validation samples one by one, normalised."""
        return PreparedChips(self.valid, self._preparation(random=False), self.seed)

    @property
    def train_dl(self) -> Batches:
        """Batches of the training chips on the CPU: see :meth:`train_loader`."""
        return self.train_loader()

    @property
    def valid_dl(self) -> Batches:
        """Batches of the validation chips on the CPU: see :meth:`valid_loader`."""
        return self.valid_loader()

    def __repr__(self) -> str:
        names = ", ".join(f"{c.value} {c.name}" for c in self.classes)
        return (
            f"ImageryData: {len(self.train)} chips to train, {len(self.valid)} to validate, "
            f"{self.chip_size} px, {len(self.bands)} bands of {self.dtype}; "
            + (f"classes: {names}" if names else "image to image")
        )

    def _repr_html_(self) -> str:
        """The description and a row of chips, as a notebook shows them."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        picture = io.BytesIO()
        FigureCanvasAgg(self.show_batch(rows=1)).print_png(picture)
        code = base64.b64encode(picture.getvalue()).decode("ascii")
        return f'<p>{escape(repr(self))}</p><img alt="some chips" src="data:image/png;base64,{code}">'

    def spec_for(self, model_name: str, parameters: Mapping[str, Any]) -> ModelSpec:
        """Everything a model needs to know of this data.

        Parameters
        ----------
        model_name
            Name of the model's class in the catalog.
        parameters
            The model's settings, JSON-able; they stand in the result unchanged.

        Raises
        ------
        ModelMismatchError
            If such a model learns from another kind of chips.
        """
        store = self.train.source.spec
        for row in CATALOG:
            if row.name == model_name and self.form.task not in row.tasks:
                formats = ", ".join(name for name, kind in KINDS.items() if kind.task in row.tasks)
                raise ModelMismatchError(
                    f"{model_name} learns {' and '.join(row.tasks)}, and these are {store.metadata_format} "
                    f"chips, for {self.form.task}: export chips as {formats}, or read these with another "
                    "dataset_type."
                )
        return ModelSpec(
            model=model_name,
            task=self.form.task,
            bands=self.bands,
            extract_bands=self.extract_bands,
            dtype=self.dtype,
            normalization=self.normalization,
            tile_size=self.chip_size,
            classes=self.classes,
            cell_size=(float(store.cell_size[0]), float(store.cell_size[1])),
            crs=str(store.crs),
            parameters=dict(parameters),
            background=self.form.background,
        )

    def train_loader(
        self,
        *,
        device: torch.device | None = None,
        seed: int | None = None,
        iterations: int | None = None,
        batch_size: int | None = None,
        share: tuple[int, int] = (0, 1),
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
        share
            Number of a process and of processes that train together: its part of each batch.
        """
        seed = self.seed if seed is None else seed
        order = _order(
            self.train,
            batch_size=batch_size or self.batch_size,
            seed=seed,
            shuffle=True,
            iterations=iterations,
            share=share,
        )
        return self._batches(self.train, order, self._preparation(random=True), seed, device)

    def valid_loader(
        self,
        *,
        device: torch.device | None = None,
        batch_size: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> Batches:
        """The validation chips in order, the middle of each, unchanged but for the caller's own transform.

        Settings as for :meth:`train_loader`.
        """
        size = batch_size or self.batch_size
        order = _order(self.valid, batch_size=size, seed=self.seed, shuffle=False, share=share)
        return self._batches(self.valid, order, self._preparation(random=False), self.seed, device)

    def show_batch(self, rows: int = 3, **kwargs: Any) -> "Figure":
        """A picture of training chips as the network gets them, with what is known of them.

        Parameters
        ----------
        rows
            Rows of about four pictures.
        kwargs
            ``rgb_bands``: three names or positions of bands; ``statistics_percent``: percentiles that become
            black and white, such as ``(2, 98)``; ``alpha``: opacity of classes and outlines, 0..1.
        """
        check_stretch(kwargs)
        panels = self.form.panels
        across = max(1, 4 // panels) if panels < 3 else 2
        order = _order(
            self.train, batch_size=across * max(1, rows), seed=self.seed, shuffle=True, iterations=None
        )
        loader = self._batches(
            self.train, order, self._preparation(random=True, collate=False), self.seed, None, workers=0
        )
        shown = next(iter(loader))
        figure = new_figure(rows=max(1, rows), columns=across * panels, side=2.6 if panels < 3 else 2.1)
        legend = Legend(self.bands, self.bands2, self.classes, self.object_classes or self.classes)
        self.form.draw(figure.axes, shown, legend, **kwargs)
        if self.classes and not self.form.whole_labels:
            add_legend(figure, _both(self.classes, self.object_classes))
        return figure

    def _preparation(self, *, random: bool, collate: bool = True) -> Preparation:
        return Preparation(
            scaling=Scaling(self.normalization, self.ranges),
            scaling2=self.scaling2,
            form=self.form,
            size=self.window,
            random=random,
            resize=self.resize,
            augmentation=self.augmentation if random else None,
            transform=self.transforms[0 if random else 1],
            collate=self.collate_fn if collate else None,
        )

    def _batches(
        self,
        chips: Chips,
        order: Order,
        prepare: Preparation,
        seed: int,
        device: torch.device | None,
        *,
        workers: int | None = None,
    ) -> Batches:
        workers = self.num_workers if workers is None else workers
        return Batches(chips, order=order, prepare=prepare, seed=seed, workers=workers, device=device)


def _order(
    chips: Chips,
    *,
    batch_size: int,
    seed: int,
    shuffle: bool,
    iterations: int | None = None,
    share: tuple[int, int] = (0, 1),
) -> Order:
    settings: dict[str, Any] = {"seed": seed, "shuffle": shuffle, "iterations": iterations}
    whole: Order
    if chips.other is None:
        whole = EpochOrder(len(chips), batch_size=batch_size, **settings)
    else:
        whole = unpaired_order((len(chips), len(chips.other)), batch_size=batch_size, **settings)
    rank, size = share
    return whole if size == 1 else Shares(whole, rank=rank, size=size, shuffle=shuffle)


def _both(classes: tuple[ClassInfo, ...], others: tuple[ClassInfo, ...]) -> tuple[ClassInfo, ...]:
    known = {(c.name, c.color) for c in classes}
    return (*classes, *(c for c in others if (c.name, c.color) not in known))
