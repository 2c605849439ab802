"""Scores: bits per dimension, and IS, FID, KID, precision/recall through torch-fidelity."""
