"""A spec and its data -> a network."""
