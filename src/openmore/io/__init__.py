"""Frames in, scenes out: lazy decoding, sizing with undo, scene folders, trajectory files, atomic writes."""
