"""Python raster functions of other authors: loaded where they are trusted, and run a tile at a time."""
