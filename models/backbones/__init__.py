"""Feature extractors: their names, and where their trained weights come from."""
