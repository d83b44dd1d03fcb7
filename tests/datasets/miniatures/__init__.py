"""Writers of tiny data sets in their true on-disk layouts, all showing the one ray-cast scene of `world.py`."""
