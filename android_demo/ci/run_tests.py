"""Runs the app's tests on the JVM: the real activity under Robolectric with native graphics, the real ONNX Runtime."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from artifacts import APP, LOCK, BuildError, files
from resources import MANIFEST, R_CLASSES, RESOURCES, merge_manifests
from sources import CLASSES, RUNTIME_CLASSES, TEST_CLASSES, TEST_SOURCES, build_test_classes, test_jars
from steps import BUILD, PACKAGE, REPO, java_home, step

SCREENSHOTS = BUILD / "screenshots"
TELEMETRY, WITH_TELEMETRY = Path(__file__).with_name("telemetry.xml"), BUILD / "AndroidManifest-telemetry.xml"
OPENS = ("java.lang", "java.util", "java.io", "java.net", "java.text", "java.util.concurrent")


def main(names: list[str]) -> int:
    """Runs all tests, or the test classes that are named; returns the exit code."""
    build_test_classes()
    configure()
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    SCREENSHOTS.mkdir(parents=True)
    code = subprocess.run(command(names or test_names()), env=environment(), cwd=BUILD, check=False).returncode
    print(f"screenshots: {SCREENSHOTS}")
    return code


def configure() -> None:
    """Says to Robolectric where the merged manifest and the linked resources are, and which Android it imitates."""
    folder = BUILD / "test-config"
    (folder / "com" / "android" / "tools").mkdir(parents=True, exist_ok=True)
    (folder / "com" / "android" / "tools" / "test_config.properties").write_text(
        f"android_merged_manifest={MANIFEST}\nandroid_resource_apk={RESOURCES}\nandroid_custom_package={PACKAGE}\n"
    )
    (folder / "robolectric.properties").write_text("sdk=35\ngraphicsMode=NATIVE\nqualifiers=w411dp-h891dp-xhdpi\n")
    own = [TELEMETRY, APP / "src" / "main" / "AndroidManifest.xml", LOCK]
    step("manifest with telemetry", own, "", [WITH_TELEMETRY], lambda: merge_manifests([TELEMETRY], WITH_TELEMETRY))
    sdk = BUILD / "robolectric-sdk"
    sdk.mkdir(exist_ok=True)
    for jar in files("robolectric-sdk"):
        if not (sdk / jar.name).exists():
            (sdk / jar.name).symlink_to(jar)


def command(names: list[str]) -> list[str]:
    """Returns the Java command that runs test classes."""
    classpath: list[Path] = [
        BUILD / "test-config",
        TEST_CLASSES,
        CLASSES,
        RUNTIME_CLASSES,
        R_CLASSES,
        *test_jars(),
        *files("robolectric-host"),
    ]
    properties = {
        "golden": REPO / "tests" / "golden", "screenshots": SCREENSHOTS, "merged.manifest": MANIFEST,
        "merged.manifest.with.telemetry": WITH_TELEMETRY,
        "benchmark.schema": REPO / "runtime" / "vlmprune_runtime" / "benchmark" / "schema.json",
        "robolectric.offline": "true", "robolectric.dependency.dir": BUILD / "robolectric-sdk",
        "robolectric.pixelCopyRenderMode": "hardware",
    }  # fmt: skip
    opens = [part for name in OPENS for part in ("--add-opens", f"java.base/{name}=ALL-UNNAMED")]
    return [str(java_home() / "bin" / "java"), "-Xmx1500m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *opens,
            *(f"-D{name}={value}" for name, value in properties.items()),
            "-cp", ":".join(map(str, classpath)), "org.junit.runner.JUnitCore", *names]  # fmt: skip


def environment() -> dict[str, str]:
    """Returns the environment of the tests, in which ONNX Runtime's telemetry is off."""
    return os.environ | {"ORT_DISABLE_TELEMETRY": "1"}


def test_names() -> list[str]:
    """Returns the names of all test classes. Raises BuildError if there is none."""
    found = []
    for path in sorted(TEST_SOURCES.rglob("*.kt")):
        text = path.read_text()
        if re.search(r"^\s*@Test\b", text, re.M):
            found += [f"{PACKAGE}.{name}" for name in re.findall(r"^class (\w+)", text, re.M)]
    if not found:
        raise BuildError(f"no test in {TEST_SOURCES}")
    return found


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BuildError as error:
        sys.exit(f"FAILED: {error}")
