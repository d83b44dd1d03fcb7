"""The network. Read config, rope, attention, vit, aggregator, camera_head, dense_head, more, in that order."""
