"""A run's model in other formats, each read again by its own runtime and compared with the original."""
