"""Gradient features of atoms, and how far they are from those of the training data."""
