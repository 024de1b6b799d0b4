"""Rasters: open, grid, tiles, bands, mosaics, statistics. The lowest room of the pipeline."""
