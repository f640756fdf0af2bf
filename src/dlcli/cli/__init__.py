"""What the user types: parse, import one stage inside the body, call it, print."""
