"""Benchmarks: each module has run(), which prints one table. Times are printed, never asserted."""
