"""Run a model over a raster of any size: plan cells, compute them anywhere, put them together."""
