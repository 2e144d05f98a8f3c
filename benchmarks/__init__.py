"""Benchmarks: scripts that compare side by side, in one run, interleaved and repeated."""
