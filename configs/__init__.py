"""The experiments that are installed with the package."""
