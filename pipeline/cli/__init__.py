"""The command line: one file per command, each parses words and calls one function."""
