"""Statistics on plain arrays: shrinkage, replicates, tests, rotations. numpy and scipy only."""
