"""Finding objects in rasters of any size."""
