"""What the notebooks of tables and figures show."""
