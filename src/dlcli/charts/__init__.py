"""Charts: each is drawn by one function, as a PNG file or as SVG inside a page."""
