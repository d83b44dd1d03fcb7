"""Geometric polish of cameras: correspondences, robust solver with a depth prior, motion from residuals."""
