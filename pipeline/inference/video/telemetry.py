"""Where a camera was and looked: columns of a metadata table as items of MISB ST 0601.

The columns are those that video multiplexers know: platform angles, the sensor's place, its angles and field
of view, and the centre of the frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rasterloom.pipeline.inference.video.packing import packed


@dataclass(frozen=True)
class Quantity:
    """A number of a range, kept as a whole number of some bytes."""

    tag: int
    """Number of the item."""
    low: float
    high: float
    size: int
    """Bytes."""

    @property
    def signed(self) -> bool:
        """Whether zero is the middle of the range: the largest number stands for its end on both sides."""
        return self.low == -self.high

    def coded(self, value: float) -> bytes | None:
        """The item's value; None where it is out of range."""
        if not self.low <= value <= self.high:  # also what is no number
            return None
        if self.signed:
            most = 2 ** (8 * self.size - 1) - 1
            return round(value / self.high * most).to_bytes(self.size, "big", signed=True)
        most = 2 ** (8 * self.size) - 1
        return round((value - self.low) / (self.high - self.low) * most).to_bytes(self.size, "big")


QUANTITIES: Mapping[str, Quantity] = {
    "platformheadingangle": Quantity(5, 0, 360, 2),
    "platformheading": Quantity(5, 0, 360, 2),
    "platformpitchangle": Quantity(6, -20, 20, 2),
    "platformpitch": Quantity(6, -20, 20, 2),
    "platformrollangle": Quantity(7, -50, 50, 2),
    "platformroll": Quantity(7, -50, 50, 2),
    "sensorlatitude": Quantity(13, -90, 90, 4),
    "sensorlongitude": Quantity(14, -180, 180, 4),
    "sensortruealtitude": Quantity(15, -900, 19000, 2),
    "sensoraltitude": Quantity(15, -900, 19000, 2),
    "sensorhorizontalfieldofview": Quantity(16, 0, 180, 2),
    "sensorverticalfieldofview": Quantity(17, 0, 180, 2),
    "sensorrelativeazimuthangle": Quantity(18, 0, 360, 4),
    "sensorrelativeelevationangle": Quantity(19, -180, 180, 4),
    "sensorrelativerollangle": Quantity(20, 0, 360, 4),
    "framecenterlatitude": Quantity(23, -90, 90, 4),
    "framecenterlongitude": Quantity(24, -180, 180, 4),
    "framecenterelevation": Quantity(25, -900, 19000, 2),
    "sensorellipsoidheight": Quantity(75, -900, 19000, 2),
}
"""Names of columns, without spaces, signs and capitals, and how their numbers are kept."""


def telemetry(row: Mapping[str, str]) -> bytes:
    """The items of a row, each once, in the order of their tags.

    What is empty, no number, or out of the range of its item is left out.

    Parameters
    ----------
    row
        Texts by the plain names of their columns: see :func:`plain`.
    """
    found: dict[int, bytes] = {}
    for name, text in row.items():
        quantity = QUANTITIES.get(name)
        coded = None if quantity is None else quantity.coded(_number(text))
        if quantity is not None and coded is not None:
            found.setdefault(quantity.tag, coded)
    return b"".join(packed(tag, found[tag]) for tag in sorted(found))


def plain(name: str) -> str:
    """The name of a column without spaces, signs and capitals."""
    return "".join(sign for sign in name.lower() if sign.isalnum())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
