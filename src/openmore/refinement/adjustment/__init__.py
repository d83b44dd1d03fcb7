"""Bundle adjustment: what is solved for, its normal equations, and the points that cameras give."""
