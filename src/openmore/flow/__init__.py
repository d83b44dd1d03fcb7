"""Optical flow behind one protocol: DIS (no weights), SEA-RAFT, exact flow of the synthetic world."""
