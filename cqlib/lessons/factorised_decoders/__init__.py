"""Lesson 03: what decoders with independent pixels cannot say."""
