"""What the machine gives: memory, files, devices, processes, sparse arrays and fast arithmetic. Knows no genes."""
