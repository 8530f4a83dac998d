"""Layers in the configs of models that nobody should load."""

LAMBDA = {
    "module": "keras.layers",
    "class_name": "Lambda",
    "config": {"name": "l", "function": {"class_name": "__lambda__", "config": {"value": "4wEAAA=="}}},
    "registered_name": None,
}
LOOKUP = {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/hostname"}}
