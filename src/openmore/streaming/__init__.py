"""Frame by frame: cache, policy, session, streamers. Read after model."""
