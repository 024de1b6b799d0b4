"""Models that find edges: lines between things, one kind of them beside background."""
