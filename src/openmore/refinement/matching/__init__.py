"""What frames have in common: key points, verified pairs, revisits and tracks."""
