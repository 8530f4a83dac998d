"""The presets that are installed with the package: a model and a recipe for a folder of photos."""
