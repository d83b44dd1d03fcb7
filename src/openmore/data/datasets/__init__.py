"""Dataset readers, one file each; every one converts conventions at the door and returns a Sample."""
