"""Weights: a registry, named key maps, strict loading, conversion, and the only place that downloads."""
