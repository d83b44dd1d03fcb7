"""Looking at scenes: 4D viewer, preview sheets, plots, attention figures."""
