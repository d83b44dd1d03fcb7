"""Many videos on many machines: a manifest, one idempotent function, several executors."""
