"""A generated landscape at any size: imagery, outlines and the truth that they agree on."""
