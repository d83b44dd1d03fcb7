"""Losses, objective, recipes and the trainer."""
