"""Loop closure of long clips: a graph of similarities, and an adjustment in which loops take part."""
