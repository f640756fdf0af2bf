"""A source -> the examples of each part, and what is known of them."""
