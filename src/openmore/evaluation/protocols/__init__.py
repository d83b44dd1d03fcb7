"""The published benchmarks, and our own, as data: which frames, which metrics, which mean."""
