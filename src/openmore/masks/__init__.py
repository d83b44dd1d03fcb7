"""Motion-mask extraction: segments + optical flow + ego flow -> what moves (supplement, section 2)."""
