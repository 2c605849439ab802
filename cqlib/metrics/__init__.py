"""Scores: bits per dimension, and IS, FID, KID, coverage."""
