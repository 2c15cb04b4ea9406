"""Prints where ExecuTorch's Java classes lie, for the tests of the Kotlin runtime; npm's client fetches them."""

import subprocess
import sys

from artifacts import BuildError
from sources import executorch_jar

if __name__ == "__main__":
    try:
        print(executorch_jar())
    except (OSError, BuildError, subprocess.SubprocessError) as error:
        print(f"NOT TESTED: the adapter to ExecuTorch's classes, which cannot be fetched: {error}", file=sys.stderr)
