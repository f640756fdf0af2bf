"""A run's model in other formats, each loaded by its own runtime and compared with the original."""
