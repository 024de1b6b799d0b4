"""Models that find roads and other lines, and in training learn where they lead."""
