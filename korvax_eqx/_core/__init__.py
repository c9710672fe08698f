"""Base classes of the parts of a loss."""
