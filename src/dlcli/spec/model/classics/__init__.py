"""Networks of well-known papers as model kinds: one file for each family."""
