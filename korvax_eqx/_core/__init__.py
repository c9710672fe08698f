"""The kinds of parts of a loss, as bases to extend."""
