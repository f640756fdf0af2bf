"""One YAML file in; a trained, evaluated, explained and shippable Keras 3 model out."""

__version__ = "0.1.0"
