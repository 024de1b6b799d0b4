"""The whole journey once: raster and labels in; chips, model, map, scores and a report out."""
