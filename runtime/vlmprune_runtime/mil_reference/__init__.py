"""Is the MIL reference: a checker that runs saved Core ML packages in numpy on any system, operation by operation.

It checks the graph, the weights, the serialisation and the rounding. It is no engine and not Apple's runtime: what a
device computes with the same package stays unverified. Reading a package needs coremltools (extra `coreml`).
"""

from vlmprune_runtime.mil_reference.package import ReferencePackage

__all__ = ["ReferencePackage"]
