"""Prints how many tests Maven ran, in one line; `mvn -q` says nothing of tests that pass."""

import sys
from pathlib import Path
from xml.etree import ElementTree


def main(folder: str) -> None:
    """Adds up the reports in a folder."""
    suites = [ElementTree.parse(path).getroot() for path in sorted(Path(folder).glob("*.xml"))]
    counts = {
        name: sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    }
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    print(f"Kotlin runtime: {passed} passed, {failed} failed, {counts['skipped']} skipped")


if __name__ == "__main__":
    main(sys.argv[1])
