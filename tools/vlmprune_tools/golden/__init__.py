"""Golden cases: inputs and what the authors' released code selected on them, run with the pruners of this package.

A pair of files `NAME.json` and `NAME.npz` holds cases in one of three layouts, each read by a module of its own.
"""

from vlmprune_tools.golden.case import GoldenCase
from vlmprune_tools.golden.pairs import read_cases

__all__ = ["GoldenCase", "read_cases"]
