"""Model packages: a description and weights, as a folder and as one file."""
