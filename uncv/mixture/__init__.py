"""Gaussian mixtures of the features of atoms: whitened, fitted, evaluated, and their gradient."""
