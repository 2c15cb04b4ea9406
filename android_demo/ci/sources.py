"""Compiles the app and the Kotlin runtime, and the app's tests, with the Compose plugin."""

from pathlib import Path

from artifacts import APP, LOCK, files, npm_member
from resources import R_CLASSES, build_resources, class_jars, exploded, library_jars, onnxruntime_aar
from steps import BUILD, REPO, framework, java, step

CLASSES = BUILD / "classes"
RUNTIME_CLASSES = BUILD / "runtime-classes"
TEST_CLASSES = BUILD / "test-classes"
RUNTIME = [REPO / "runtime" / "kotlin" / "src" / part / "kotlin" for part in ("main", "executorch")]
SOURCES = APP / "src" / "main" / "kotlin"
TEST_SOURCES = APP / "src" / "test" / "kotlin"
COMPILER = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"


def executorch_jar() -> Path:
    """Returns ExecuTorch's Java classes for Android."""
    return npm_member("react-native-executorch", "android/libs/classes.jar")


def onnxruntime_jars() -> list[Path]:
    """Returns ONNX Runtime's Java classes for Android."""
    return class_jars(exploded(onnxruntime_aar()))


def build_classes() -> None:
    """Compiles what goes into the app."""
    build_resources()
    libraries = [*library_jars(), *onnxruntime_jars(), executorch_jar(), framework()]
    classpath = [RUNTIME_CLASSES, R_CLASSES, *libraries]
    step(
        "runtime classes", [*RUNTIME, LOCK], "", [RUNTIME_CLASSES], lambda: kotlinc(RUNTIME, libraries, RUNTIME_CLASSES)
    )
    step("app classes", [SOURCES, *classpath[:2], LOCK], "", [CLASSES], lambda: kotlinc([SOURCES], classpath, CLASSES))


def build_test_classes() -> None:
    """Compiles the app and its tests."""
    build_classes()
    classpath = [CLASSES, RUNTIME_CLASSES, *test_jars(), R_CLASSES, framework()]
    inputs = [TEST_SOURCES, CLASSES, LOCK]
    friends = f"-Xfriend-paths={CLASSES}"
    step("test classes", inputs, "", [TEST_CLASSES], lambda: kotlinc([TEST_SOURCES], classpath, TEST_CLASSES, friends))


def test_jars() -> list[Path]:
    """Returns the classes of all libraries that a test runs with; ONNX Runtime's are those for the JVM."""
    tests = [jar for path in files("test") for jar in (class_jars(exploded(path)) if path.suffix == ".aar" else [path])]
    return [*library_jars(), executorch_jar(), *tests]


def kotlinc(sources: list[Path], classpath: list[Path], out: Path, *options: str) -> None:
    """Compiles Kotlin sources into a folder; warnings are errors."""
    plugin = next(path for path in files("kotlinc") if "compose-compiler" in path.name)
    path = ":".join(map(str, classpath))
    java(files("kotlinc"), COMPILER, "-no-stdlib", "-no-reflect", "-Xjdk-release=11", "-jvm-target", "11", "-Werror",
         f"-Xplugin={plugin}", "-cp", path, "-d", out, *options, *sources, memory="1500m")  # fmt: skip
