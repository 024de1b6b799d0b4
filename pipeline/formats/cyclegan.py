"""CycleGAN: two complete folders, A and B, of images without labels. This is one of the two."""

from rasterloom.pipeline.formats.layout import ChipFormat

HALVES = ("A", "B")


class CycleGan(ChipFormat):
    """As Export_Tiles without pairs."""

    name = "CycleGAN"
