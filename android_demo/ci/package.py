"""Packs the app without Gradle: R8, an aligned and signed APK per ABI set, an AAB, and the checks of both."""

import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from artifacts import APP, LOCK, BuildError, files, npm_member
from check_apk import check
from resources import AAPT_RULES, R_CLASSES, RESOURCES, aapt2, exploded, libraries, library_jars, onnxruntime_aar
from sources import CLASSES, RUNTIME_CLASSES, build_classes, executorch_jar, onnxruntime_jars
from steps import BUILD, MIN_SDK, framework, jar_of, java, java_home, run, step

DEX = BUILD / "dex"
APK, BUNDLE = BUILD.parent / "vlmprune.apk", BUILD.parent / "vlmprune.aab"
KEY, PASSWORD, ALIAS = BUILD / "debug.p12", "vlmprune", "demo"
ABI = "arm64-v8a"
PAGE = 16384
STORED = (".arsc", ".png", ".onnx", ".pte", ".webp")
FIXED_TIME = (1981, 1, 1, 1, 1, 2)
SIGNER = Path(__file__).with_name("Sign.java")


def main() -> int:
    """Builds and checks APK and AAB, and returns the exit code."""
    build_classes()
    jars = [*library_jars(), *onnxruntime_jars(), executorch_jar()]
    rules = [APP / "proguard-rules.pro", AAPT_RULES]
    step("R8", [CLASSES, RUNTIME_CLASSES, R_CLASSES, *rules, LOCK], MIN_SDK, [DEX], lambda: shrink(jars, rules))
    step("apk", [DEX, RESOURCES, SIGNER], "", [APK], build_apk)
    step("aab", [DEX, RESOURCES], "", [BUNDLE], build_bundle)
    for line in check(APK):
        print(line)
    print(f"APK: {APK}\nAAB: {BUNDLE}")
    return 0


def shrink(jars: list[Path], rules: list[Path]) -> None:
    """Shrinks and renames with the app's rules and those that come with the libraries."""
    DEX.mkdir(exist_ok=True)
    consumer = [folder / "proguard.txt" for folder in libraries() if (folder / "proguard.txt").exists()]
    options = [part for rule in [*rules, *consumer] for part in ("--pg-conf", rule)]
    program = [jar_of(folder) for folder in (CLASSES, RUNTIME_CLASSES, R_CLASSES)] + jars
    options += ["--release", "--min-api", str(MIN_SDK), "--pg-map-output", BUILD / "mapping.txt"]
    system = ["--lib", framework(), "--lib", java_home()]
    java(files("r8"), "com.android.tools.r8.R8", *options, *system, "--output", DEX, *program, memory="2g", short=False)


def native_libraries() -> list[Path]:
    """Returns both engines' libraries for ARM64, and what they need beside the system's."""
    executorch = npm_member("react-native-executorch", f"third-party/android/libs/executorch/{ABI}/libexecutorch.so")
    folders = [exploded(onnxruntime_aar()), *libraries()]
    return [
        executorch,
        *sorted({p.name: p for folder in reversed(folders) for p in folder.glob(f"jni/{ABI}/*.so")}.values()),
    ]


def built_in_bundles() -> Iterator[tuple[str, Path]]:
    """Yields the files of bundles that lie in app/src/main/assets, which is empty unless somebody puts some there."""
    assets = APP / "src" / "main" / "assets"
    for path in sorted(assets.rglob("*")):
        if path.is_file():
            yield f"assets/{path.relative_to(assets).as_posix()}", path


def add(archive: zipfile.ZipFile, name: str, data: bytes, align: int = 0) -> None:
    """Adds an entry with a fixed time; with `align`, stored, so that its data begins at a multiple of that."""
    info = zipfile.ZipInfo(name, FIXED_TIME)
    info.compress_type = zipfile.ZIP_STORED if align else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    if align:
        start = archive.fp.tell() + 30 + len(name.encode())  # type: ignore[union-attr]
        padding = -start % align
        while 0 < padding < 6:
            padding += align
        if padding:
            info.extra = struct.pack("<HHH", 0xD935, padding - 4, align) + bytes(padding - 6)
    archive.writestr(info, data)


def build_apk() -> None:
    """Writes the signed APK."""
    unsigned = BUILD / "unsigned.apk"
    with zipfile.ZipFile(unsigned, "w") as out, zipfile.ZipFile(RESOURCES) as resources:
        for name in resources.namelist():
            add(out, name, resources.read(name), align=4 if name.endswith(STORED) else 0)
        for name, path in [*built_in_bundles(), *code()]:
            add(out, name, path.read_bytes(), align=4 if name.endswith(STORED) else 0)
        for path in native_libraries():
            add(out, f"lib/{ABI}/{path.name}", path.read_bytes(), align=PAGE)
    sign("sign", unsigned, APK)
    sign("verify", APK, APK)


def code() -> Iterator[tuple[str, Path]]:
    """Yields the dex files and service files; whatever else R8 copies out of jars is of no use on a phone."""
    for path in sorted(DEX.rglob("*")):
        name = path.relative_to(DEX).as_posix()
        if path.suffix == ".dex" or name.startswith("META-INF/services/"):
            yield name, path


def sign(action: str, source: Path, target: Path) -> None:
    """Signs an APK, or verifies its signature, with a key that is made at the first build."""
    if not KEY.exists():
        store = ["-keystore", KEY, "-storetype", "PKCS12", "-storepass", PASSWORD, "-alias", ALIAS]
        certificate = ["-keyalg", "RSA", "-keysize", "2048", "-validity", "10000", "-dname", "CN=vlmprune demo"]
        run([java_home() / "bin" / "keytool", "-genkeypair", *store, *certificate])
    classpath = ":".join(map(str, files("apksig")))
    run(
        [
            java_home() / "bin" / "java",
            "-cp",
            classpath,
            SIGNER,
            action,
            source,
            target,
            KEY,
            PASSWORD,
            ALIAS,
            str(MIN_SDK),
        ]
    )


def build_bundle() -> None:
    """Writes the AAB from the same parts, with the resources in the form that the store takes."""
    proto, base = BUILD / "resources.pb.apk", BUILD / "base.zip"
    run([aapt2(), "convert", "--output-format", "proto", "-o", proto, RESOURCES])
    with zipfile.ZipFile(base, "w") as out, zipfile.ZipFile(proto) as resources:
        for name in resources.namelist():
            add(out, f"manifest/{name}" if name == "AndroidManifest.xml" else name, resources.read(name))
        for name, path in [*built_in_bundles(), *code()]:
            folder = "dex/" if name.endswith(".dex") else "" if name.startswith("assets/") else "root/"
            add(out, folder + name, path.read_bytes())
        for path in native_libraries():
            add(out, f"lib/{ABI}/{path.name}", path.read_bytes())
    settings = BUILD / "bundle-config.json"
    settings.write_text(
        json.dumps(
            {"optimizations": {"uncompressNativeLibraries": {"enabled": True, "alignment": "PAGE_ALIGNMENT_16K"}}}
        )
    )
    tool = "com.android.tools.build.bundletool.BundleToolMain"
    java(files("bundletool"), tool, "build-bundle", f"--modules={base}", f"--config={settings}", f"--output={BUNDLE}")
    run(
        [
            java_home() / "bin" / "jarsigner",
            "-keystore",
            KEY,
            "-storetype",
            "PKCS12",
            "-storepass",
            PASSWORD,
            BUNDLE,
            ALIAS,
        ]
    )
    java(files("bundletool"), tool, "validate", f"--bundle={BUNDLE}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BuildError, subprocess.CalledProcessError) as error:
        sys.exit(f"FAILED: {error}")
