"""A fitted model: how it is made, saved and read, where its cells lie, what its factors are."""
