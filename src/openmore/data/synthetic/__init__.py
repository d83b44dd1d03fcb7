"""A synthetic 4D world with exact truth: random dynamic scenes, ray-cast in torch."""
