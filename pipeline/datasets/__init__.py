"""Chips as batches for training: split, cropped, augmented and normalised."""
