"""What the lessons draw and compute."""
