"""PASCAL_VOC_rectangles: an XML file for each chip, and the same XML for labels of whole chips."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException, ElementTree

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import StoreError
from rasterloom.pipeline.formats.boxes import classes_of_texts, found_boxes, survey_pairs
from rasterloom.pipeline.formats.directory import inside
from rasterloom.pipeline.formats.kitti import write_text
from rasterloom.pipeline.formats.layout import Batch, ChipFiles, ChipFormat, Entry, Found, Survey, Written


class Voc(ChipFormat):
    """``object/name`` is the class value, ``bndbox`` the box in pixels with two decimals."""

    name = "PASCAL_VOC_rectangles"
    labels_needed = True
    near = 0.006

    def write(self, batch: Batch) -> list[Written]:
        objects = batch.block.objects
        assert objects is not None, "chips of this kind have objects"
        written = []
        for chip in range(len(batch.entries)):
            own = objects.of([chip])
            named = [
                (str(value), box) for value, box in zip(own.values.tolist(), own.boxes.tolist(), strict=True)
            ]
            written.append(write_annotation(batch, chip, named))
        return written

    def survey(self, root: Path) -> Survey:
        return survey_pairs(self.name, root, ".xml")

    def classes(self, root: Path, entries: Sequence[Entry]) -> tuple[ClassInfo, ...]:
        return classes_of_texts(
            name for entry in entries for name, _ in read_annotation(inside(root, entry.labels[0]))
        )

    def objects(self, chip: ChipFiles) -> Found:
        path = inside(chip.root, chip.entry.labels[0])
        rows = [(name, box) for name, box in read_annotation(path) if box is not None]
        return found_boxes(rows, chip)


def write_annotation(batch: Batch, chip: int, objects: Sequence[tuple[str, Sequence[float]]]) -> Written:
    """Write the XML of a chip: names, each with xmin, ymin, xmax, ymax."""
    entry = batch.entries[chip]
    height, width = batch.size(chip)
    label = f"labels/{entry.stem}.xml"
    write_text(
        batch.folder / label,
        '<?xml version="1.0"?>\n'
        "<annotation>\n"
        f"  <filename>{escape(Path(entry.image).name)}</filename>\n"
        "  <source>\n    <annotation>rasterloom</annotation>\n  </source>\n"
        f"  <size>\n    <width>{width}</width>\n    <height>{height}</height>\n"
        f"    <depth>{len(batch.spec.bands)}</depth>\n  </size>\n"
        + "".join(_object_text(name, box) for name, box in objects)
        + "</annotation>\n",
    )
    return Written((label,))


def read_annotation(path: Path) -> list[tuple[str, list[float] | None]]:
    """Name and box of each object of an XML file; None where it states no box.

    Raises
    ------
    StoreError
        If it is malformed, or made to exhaust its reader.
    """
    try:
        root = ElementTree.parse(path, forbid_dtd=True).getroot()
        return [
            ((element.findtext("name") or "").strip(), _box(element.find("bndbox")))
            for element in root.iter("object")
        ]
    except DefusedXmlException as error:
        raise StoreError(
            f"{path} declares entities or a document type, which no label file needs and which can exhaust "
            f"whoever reads it ({type(error).__name__}): remove it, and look where it came from."
        ) from error
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise StoreError(f"{path} is no annotation: {error}. Mend it, or remove it.") from error


def _box(element: Any) -> list[float] | None:
    if element is None:
        return None
    return [float(element.findtext(side) or "nan") for side in ("xmin", "ymin", "xmax", "ymax")]


def _object_text(name: str, box: Sequence[float]) -> str:
    sides = "".join(
        f"      <{side}>{value:.2f}</{side}>\n"
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"  <object>\n    <name>{escape(name)}</name>\n    <bndbox>\n{sides}    </bndbox>\n  </object>\n"
