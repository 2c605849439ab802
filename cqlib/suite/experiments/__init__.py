"""What the paper says, the rows, and one run from images to record."""
