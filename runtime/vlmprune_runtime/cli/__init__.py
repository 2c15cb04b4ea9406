"""The commands: each parses arguments and calls one library function."""
