"""Exporters by format name, each read back by an independent reader in the tests."""
