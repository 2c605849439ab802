"""Lesson 01: forward and reverse KL divergences, by likelihood, by an optimal and by a trained discriminator."""
