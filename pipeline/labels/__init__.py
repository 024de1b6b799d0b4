"""Features and what they say about pixels."""
