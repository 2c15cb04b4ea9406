"""What is checked of the packed app: permissions, providers, classes, calls, native libraries, sizes."""

import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

from artifacts import BuildError, files
from elf import SharedLibrary, read_library
from resources import R_CLASSES, aapt2, library_jars
from sources import CLASSES, RUNTIME_CLASSES, executorch_jar, onnxruntime_jars
from steps import PACKAGE, framework, jar_of, java, java_home, run

PAGE = 16384
AARCH64 = 183
# The libraries that the NDK promises to be on every phone.
SYSTEM = {
    f"lib{name}.so"
    for name in (
        "android",
        "c",
        "dl",
        "m",
        "log",
        "z",
        "EGL",
        "GLESv2",
        "GLESv3",
        "jnigraphics",
        "mediandk",
        "nativewindow",
        "vulkan",
    )
}
ENGINES = {"libonnxruntime.so", "libonnxruntime4j_jni.so", "libexecutorch.so", "libfbjni.so", "libc++_shared.so"}
# The app asks for the version before it calls these, and says less on an older phone.
GUARDED = ("getCurrentThermalStatus", "getThermalHeadroom", "SOC_MODEL")
TRACE = "com.android.tools.r8.tracereferences.TraceReferences"


@dataclass(frozen=True)
class Entry:
    """An entry of the APK: whether it is stored, and where its data begins."""

    name: str
    stored: bool
    offset: int


def check(apk: Path) -> list[str]:
    """Returns one line per check. Raises BuildError that names all failures."""
    found, failures = [], []
    for name, run_check in CHECKS.items():
        said = run_check(apk)
        failures += [f"{name}: {line}" for line in said.failures]
        found.append(f"checked {name}: {said.summary}")
    if failures:
        raise BuildError("\n".join(failures))
    return found


@dataclass(frozen=True)
class Said:
    """What a check has found."""

    summary: str
    failures: list[str]


def manifest(apk: Path) -> Said:
    """No permission, no provider, and no class in the manifest that is missing from the code."""
    text = run([aapt2(), "dump", "xmltree", "--file", "AndroidManifest.xml", apk])
    bad = [f"has {kind}" for kind in ("uses-permission", "permission", "provider") if re.search(rf"E: {kind} ", text)]
    code = dex(apk)
    names = re.findall(r"E: (?:application|activity|service|receiver).*?:name\([^)]*\)=\"([^\"]+)\"", text, re.S)
    whole = [PACKAGE + name if name.startswith(".") else name for name in names]
    bad += [f"{name} is not in the code" for name in whole if f"L{name.replace('.', '/')};".encode() not in code]
    return Said(f"no permission, no provider, {len(names)} classes are there", bad)


def dex(apk: Path) -> bytes:
    """Returns the bytes of all dex files of the APK."""
    with zipfile.ZipFile(apk) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".dex"))


def native(apk: Path) -> Said:
    """Both engines are there for ARM64, need nothing that is missing, and load with pages of 16 KiB."""
    with zipfile.ZipFile(apk) as archive:
        names = [name for name in archive.namelist() if name.endswith(".so")]
        libraries = {Path(name).name: read_library(archive.read(name)) for name in names}
    bad = [f"{name} is missing" for name in sorted(ENGINES - set(libraries))]
    for name, library in libraries.items():
        bad += [f"{name}: {line}" for line in faults(library, set(libraries))]
    return Said(f"{len(libraries)} libraries for arm64-v8a, {', '.join(sorted(libraries))}", bad)


def faults(library: SharedLibrary, packed: set[str]) -> list[str]:
    """Returns what is wrong with a library, by the names of those that are packed beside it."""
    bad = [f"is for machine {library.machine}"] if library.machine != AARCH64 else []
    bad += [
        f"needs {name}, which is neither packed nor the system's"
        for name in library.needed
        if name not in packed | SYSTEM
    ]
    return bad + ([f"loads with pages of {library.alignment} bytes"] if library.alignment < PAGE else [])


def alignment(apk: Path) -> Said:
    """Libraries are stored, beginning at pages of 16 KiB, and the resources are stored."""
    bad = [f"{e.name} is compressed" for e in entries(apk) if e.name.endswith((".so", ".arsc")) and not e.stored]
    bad += [f"{e.name} begins at {e.offset}" for e in entries(apk) if e.name.endswith(".so") and e.offset % PAGE]
    bad += [f"{e.name} begins at {e.offset}" for e in entries(apk) if e.name.endswith(".arsc") and e.offset % 4]
    return Said("libraries begin at pages of 16 KiB", bad)


def entries(apk: Path) -> list[Entry]:
    """Returns the entries of the APK with the offsets of their data."""
    found = []
    with zipfile.ZipFile(apk) as archive, apk.open("rb") as raw:
        for info in archive.infolist():
            raw.seek(info.header_offset + 26)
            name_bytes, extra_bytes = struct.unpack("<HH", raw.read(4))
            offset = info.header_offset + 30 + name_bytes + extra_bytes
            found.append(Entry(info.filename, info.compress_type == zipfile.ZIP_STORED, offset))
    return found


def missing_classes(apk: Path) -> Said:
    """All that the app and the runtime name is there; R8 itself refuses classes that are missing."""
    return Said("all that the app names is in its libraries or in Android 16", missing([framework()]))


def newer_calls(apk: Path) -> Said:
    """The app and the runtime call nothing that Android 8 lacks, but what they call behind a check of the version."""
    lines = [line for line in missing(files("oldest")) if not any(call in line for call in GUARDED)]
    return Said(f"only {', '.join(GUARDED)}, each behind a check of the version", lines)


def missing(system: list[Path]) -> list[str]:
    """Returns what TraceReferences says that the app names and neither it, its libraries nor the system have."""
    own = [jar_of(folder) for folder in (CLASSES, RUNTIME_CLASSES)]
    libraries = [*system, jar_of(R_CLASSES), *library_jars(), *onnxruntime_jars(), executorch_jar(), java_home()]
    arguments: list[str | Path] = ["--check"]
    for path in libraries:
        arguments += ["--lib", path]
    for path in own:
        arguments += ["--source", path]
    try:
        java(files("r8"), TRACE, *arguments, memory="1500m")
    except BuildError as error:
        lines = [line for line in str(error).splitlines() if not line.startswith("\tat ")]
        return [line for line in lines if "issing" in line] or lines
    return []


def size(apk: Path) -> Said:
    """Says how large the APK is, and how much of it are libraries and code."""
    with zipfile.ZipFile(apk) as archive:
        native_bytes = sum(info.file_size for info in archive.infolist() if info.filename.endswith(".so"))
        code_bytes = sum(info.file_size for info in archive.infolist() if info.filename.endswith(".dex"))
    whole = apk.stat().st_size
    parts = f"libraries {native_bytes / 1e6:.1f} MB and code {code_bytes / 1e6:.1f} MB"
    return Said(f"arm64-v8a {whole / 1e6:.1f} MB, of which {parts}", [])


CHECKS = {"manifest": manifest, "native libraries": native, "alignment": alignment, "missing classes": missing_classes,
          "newer calls": newer_calls, "size": size}  # fmt: skip
