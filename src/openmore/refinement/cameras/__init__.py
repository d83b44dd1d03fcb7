"""From tracks to the cameras of a shot: what the camera did, how to begin, and which answer to believe."""
