"""From a raster and labels to training chips."""
