"""Export_Tiles: images alone, or with the second image of each chip in images2/."""

from pathlib import Path

from rasterloom.pipeline.formats.directory import IMAGE_SUFFIXES, files_under
from rasterloom.pipeline.formats.layout import ChipFormat, Entry, Survey


class ExportTiles(ChipFormat):
    """No labels."""

    name = "Export_Tiles"

    def survey(self, root: Path) -> Survey:
        found = super().survey(root)
        return Survey(paired(root, found.entries), (), self.name)


def paired(root: Path, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries with their second images, where all of them have one."""
    seconds = {str(Path(n).with_suffix("")): n for n in files_under(root / "images2", IMAGE_SUFFIXES)}
    stems = [str(Path(entry.image.removeprefix("images/")).with_suffix("")) for entry in entries]
    if not all(stem in seconds for stem in stems):
        return entries
    return tuple(
        Entry(e.stem, e.image, e.labels, f"images2/{seconds[stem]}", e.split)
        for e, stem in zip(entries, stems, strict=True)
    )
