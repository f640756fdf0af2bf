"""The data doctor: checks of a source's examples before a network is trained on them."""
