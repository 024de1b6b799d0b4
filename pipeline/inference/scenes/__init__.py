"""Give objects, or whole rasters, a label with a model for scenes."""
