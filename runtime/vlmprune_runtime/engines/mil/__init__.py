"""The MIL reference: saved Core ML packages read back and run, operation by operation, in numpy on any system.

It shows that graph, weights, serialisation and rounding are what they should be. It is not Apple's runtime: what a
device computes with them stays unverified.
"""

from vlmprune_runtime.engines.mil.package import MilPackage

__all__ = ["MilPackage"]
