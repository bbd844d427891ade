"""Benchmarks: ratios taken side by side in one run, for times differ between machines. `make bench` runs them."""
