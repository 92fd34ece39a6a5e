"""Measurements, as ratios within one run. Each is a program: `python -m benchmarks.<name>`."""
