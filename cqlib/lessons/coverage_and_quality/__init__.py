"""Lesson 02: L_C alone, L_Q alone, and both, where the density of the data is known."""
