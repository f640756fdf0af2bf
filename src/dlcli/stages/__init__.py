"""How a run proceeds: each stage a readable sequence of named steps."""
