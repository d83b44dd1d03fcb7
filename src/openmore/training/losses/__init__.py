"""Losses of cameras, dense maps, motion masks and attention; each file states its form and where it comes from."""
