"""SEA-RAFT (Wang, Lipson, Deng, ECCV 2024): an optical-flow network, loading the files its authors publish."""
