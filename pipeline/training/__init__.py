"""Fitting a model to its data, and judging it."""
