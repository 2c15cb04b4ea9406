"""Type-checks the android block of app/build.gradle.kts with the Android plugin's own classes, without Gradle."""

import re
import tempfile
from pathlib import Path

from artifacts import APP, BuildError, files
from sources import COMPILER
from steps import BUILD, java

# Gradle's scripts see these names without an import, and take assignments to what is a property with a setter.
HEADER = """import com.android.build.api.dsl.ApplicationExtension
import org.gradle.api.JavaVersion
fun file(path: String) = java.io.File(path)
fun ApplicationExtension.block() {
"""


def block() -> str:
    """Returns the inside of `android { ... }`."""
    text = (APP / "build.gradle.kts").read_text()
    match = re.search(r"^android \{\n(.*?)^\}", text, re.M | re.S)
    if not match:
        raise BuildError("app/build.gradle.kts has no android block")
    return match[1]


def check_gradle_files(text: str | None = None) -> None:
    """Compiles the block. Raises BuildError with the compiler's message for a name or type that does not exist."""
    kotlin = [path for path in files("kotlinc") if "compose" not in path.name]
    stdlib = [path for path in kotlin if path.name.startswith("kotlin-stdlib-")]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "Check.kt")
        source.write_text(HEADER + (block() if text is None else text) + "}\n")
        classpath = ":".join(map(str, [*files("gradle"), *stdlib]))
        java(
            kotlin,
            COMPILER,
            "-no-stdlib",
            "-no-reflect",
            "-jvm-target",
            "17",
            "-cp",
            classpath,
            "-d",
            Path(folder, "out"),
            source,
        )


if __name__ == "__main__":
    BUILD.mkdir(parents=True, exist_ok=True)
    check_gradle_files()
    print("app/build.gradle.kts: the android block compiles against the Android plugin")
