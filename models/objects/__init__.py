"""Models that find things: boxes and outlines."""
