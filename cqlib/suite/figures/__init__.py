"""What the notebooks of tables and figures show. `common` serves all of them, `strips` several."""
