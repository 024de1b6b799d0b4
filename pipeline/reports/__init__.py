"""How good a map is, in figures, pictures and one page."""
