"""What the notebooks of lessons 01 to 05 draw and compute."""
