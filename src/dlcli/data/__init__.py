"""Opens a source: the examples of each split, and facts about them."""
