"""KITTI_rectangles: a text file for each chip, with a line of fifteen columns for each object."""

from collections.abc import Sequence
from pathlib import Path

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import OutputError, SettingError, StoreError
from rasterloom.pipeline.formats.boxes import classes_of_texts, found_boxes, survey_pairs
from rasterloom.pipeline.formats.directory import inside
from rasterloom.pipeline.formats.layout import Batch, ChipFiles, ChipFormat, Entry, Found, Survey, Written
from rasterloom.pipeline.store.layout import StoreSpec


class Kitti(ChipFormat):
    """Column 1 is the class value, columns 5 to 8 the box in pixels with two decimals, others are 0."""

    name = "KITTI_rectangles"
    labels_needed = True
    near = 0.006

    def check(self, spec: StoreSpec) -> None:
        below = [c.value for c in spec.classes if c.value < 0]
        if below:
            raise SettingError(
                f"class value {below[0]} cannot be held by KITTI_rectangles, whose readers take a minus sign "
                "for the end of a column: number the classes from 1, or choose PASCAL_VOC_rectangles."
            )

    def write(self, batch: Batch) -> list[Written]:
        objects = batch.block.objects
        assert objects is not None, "chips of this kind have objects"
        written = []
        for chip, entry in enumerate(batch.entries):
            own = objects.of([chip])
            lines = [
                f"{value} 0 0 0 {x0:.2f} {y0:.2f} {x1:.2f} {y1:.2f} 0 0 0 0 0 0 0\n"
                for value, (x0, y0, x1, y1) in zip(own.values.tolist(), own.boxes.tolist(), strict=True)
            ]
            label = f"labels/{entry.stem}.txt"
            write_text(batch.folder / label, "".join(lines))
            written.append(Written((label,)))
        return written

    def survey(self, root: Path) -> Survey:
        return survey_pairs(self.name, root, ".txt")

    def classes(self, root: Path, entries: Sequence[Entry]) -> tuple[ClassInfo, ...]:
        return classes_of_texts(
            line[0] for entry in entries for line in _lines(inside(root, entry.labels[0]))
        )

    def objects(self, chip: ChipFiles) -> Found:
        path = inside(chip.root, chip.entry.labels[0])
        try:
            return found_boxes(
                [(line[0], [float(number) for number in line[4:8]]) for line in _lines(path)], chip
            )
        except ValueError as error:
            raise StoreError(f"{path} is no KITTI label file: {error}. Mend it, or remove it.") from error


def write_text(path: Path, text: str) -> None:
    """Write a small file of labels.

    Raises
    ------
    OutputError
        If the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", newline="\n")
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error}. Make room, or choose another folder."
        ) from error


def _lines(path: Path) -> list[list[str]]:
    """The columns of each line. A class may be a name of several words: the last fourteen are numbers."""
    try:
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}. Mend it, or remove it.") from error
    short = next((row for row in rows if len(row) < 15), None)
    if short is not None:
        raise StoreError(
            f"{path} has a line of {len(short)} columns, and KITTI has 15 ({' '.join(short)!r}): mend it."
        )
    # the columns are counted from the end; a sixteenth, a confidence, is only written by detectors
    return [[" ".join(row[:-14]), *row[-14:]] if not _numeric(row[1]) else row for row in rows]


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
