"""The Sample contract, clip sampling, augmentation, the synthetic world and dataset readers."""
