"""Models that give a whole chip one label, or several."""
