"""The sliding window: cameras of a stream, each final when it is returned."""
