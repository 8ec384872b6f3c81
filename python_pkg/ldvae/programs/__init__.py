"""Programs of cell populations: what sets one apart, what varies within it, what is its own."""
