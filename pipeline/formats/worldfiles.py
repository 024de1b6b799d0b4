"""World files: six lines that place an image on the ground."""

from pathlib import Path

from affine import Affine

from rasterloom.models.errors import StoreError


def world_text(transform: tuple[float, ...]) -> str:
    """The lines of a world file: ten decimals, and the centre of the upper-left pixel.

    References
    ----------
    "Formats", 1.1.
    """
    a, b, c, d, e, f = transform
    lines = (a, d, b, e, c + (a + b) / 2, f + (d + e) / 2)
    return "".join(f"{value + 0.0:.10f}\n" for value in lines)


def read_world(path: Path) -> Affine:
    """The transform of a world file, from the upper-left corner of the upper-left pixel.

    Raises
    ------
    StoreError
        If it is none.
    """
    try:
        a, d, b, e, x, y = (float(line.replace(",", ".")) for line in path.read_text("utf-8").split()[:6])
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is no world file: {error}. Restore it, or remove it.") from error
    return Affine(a, b, x - (a + b) / 2, d, e, y - (d + e) / 2)
