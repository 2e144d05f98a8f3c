"""One test file per source file, contracts that are inherited, and the road end to end."""
