"""The command line: main plus one file per verb."""
