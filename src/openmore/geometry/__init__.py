"""Rotations, rigid transforms, pinhole cameras, the 9-number pose code, Sim(3) alignment, ego flow. Pure torch."""
