"""Measurements that take longer than a test may; each leaves its result in ``benchmarks/results/``."""
