"""Commands: each a thin face on one library function."""
