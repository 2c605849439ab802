"""What the notebook `explore` plays with."""
