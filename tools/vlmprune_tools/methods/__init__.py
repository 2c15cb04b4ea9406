"""Measures every method's speed beside its accuracy, and makes one table of both."""
