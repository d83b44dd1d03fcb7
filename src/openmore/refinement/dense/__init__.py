"""Depth and motion of every pixel, measured from flow under solved cameras."""
