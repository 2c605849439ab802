"""What the notebooks of lessons 01 to 06 draw and compute."""
