"""The search spaces that are installed with the package."""
