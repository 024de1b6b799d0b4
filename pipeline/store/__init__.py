"""The Zarr chip store: the only room that knows its layout."""
