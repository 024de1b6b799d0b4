"""Models of a class that the user writes."""
