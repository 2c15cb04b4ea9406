"""Runs the golden bundle with the Kotlin runtime on 64-bit ARM under qemu: the same tokens and kept indices as Python.

It needs what `mvn test` has compiled. The ARM system lies below ~/.cache/vlmprune. It says nothing of times: Java only
interprets there, and qemu is hundreds of times slower than a phone.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

QEMU, BOOTSTRAP = "qemu-aarch64-static", "mmdebstrap"
PACKAGES = "openjdk-17-jre-headless,libstdc++6,zlib1g,libgcc-s1,libgomp1,libc6"
KOTLIN = Path(__file__).resolve().parent
GOLDEN = KOTLIN.parents[1] / "tests" / "golden"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlmprune"
SYSTEM = CACHE / "java-17-aarch64"
JAVA_HOME = "usr/lib/jvm/java-17-openjdk-arm64"
MAIN = "org.vlmprune.runtime.CommandLineKt"
# ONNX Runtime reads the processor's features there, which qemu does not translate.
CPU_INFO = "".join(
    f"processor\t: {core}\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp\n"
    "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0b\n\n"
    for core in range(2)
)


def system() -> Path:
    """Returns the folder of an ARM Debian with Java, which is made whole or not at all."""
    if not SYSTEM.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=CACHE, prefix="java-17-aarch64."))
        options = ["--mode=root", "--variant=extract", "--arch=arm64", "--skip=check/qemu", f"--include={PACKAGES}"]
        subprocess.run([BOOTSTRAP, *options, "bookworm", str(part)], check=True, capture_output=True, timeout=600)
        (part / "proc").mkdir(exist_ok=True)
        (part / "proc" / "cpuinfo").write_text(CPU_INFO)
        part.rename(SYSTEM)
    return SYSTEM


@functools.cache
def class_path() -> str:
    """Returns the compiled classes and the libraries that they need."""
    with tempfile.NamedTemporaryFile() as file:
        goal = ["dependency:build-classpath", f"-Dmdep.outputFile={file.name}"]
        maven = ["mvn", "-q", "-B", "-Dstyle.color=never", "-f", str(KOTLIN / "pom.xml")]
        subprocess.run([*maven, *goal], check=True, timeout=300)
        libraries = Path(file.name).read_text()
    return os.pathsep.join([str(KOTLIN / "target/classes"), str(KOTLIN / "target/test-classes"), libraries])


def answers(prompt: str, tokens: int) -> list[dict[str, object]]:
    """Returns the answers about the golden picture, the pruned one first."""
    root = system()
    java = [str(root / JAVA_HOME / "bin" / "java"), "-Xint", "-Xshare:off", "-cp", class_path(), f"-Dgolden={GOLDEN}"]
    asked = ["answer", str(GOLDEN / "bundle"), str(GOLDEN / "image.png"), prompt, str(tokens)]
    variables = [f"JAVA_HOME={root / JAVA_HOME}", "ORT_DISABLE_TELEMETRY=1"]
    environment = [part for variable in variables for part in ("-E", variable)]
    qemu = [QEMU, "-cpu", "cortex-a76", "-L", str(root), *environment]
    run = subprocess.run([*qemu, *java, MAIN, *asked], capture_output=True, text=True, timeout=1800)
    if run.returncode:
        raise SystemExit(f"the runtime failed on ARM: {run.stderr.strip()[-800:]}")
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def both_modes() -> list[dict[str, Any]]:
    """Returns the expected answers to the first golden question, the pruned one first."""
    cases = json.loads((GOLDEN / "answers.json").read_text())
    same = [case for case in cases if case["prompt"] == cases[0]["prompt"]]
    return sorted(same, key=lambda case: not case["prune"])


def main() -> int:
    """Compares one question in both modes."""
    if missing := [tool for tool in (QEMU, BOOTSTRAP, "mvn") if not shutil.which(tool)]:
        why = f"{' and '.join(missing)} not installed; on Debian: apt install qemu-user-static mmdebstrap maven"
        print(f"NOT TESTED: the Kotlin runtime on ARM64: {why}", file=sys.stderr)
        return 0
    try:
        system()
    except (OSError, subprocess.SubprocessError) as error:
        print(f"NOT TESTED: the Kotlin runtime on ARM64, whose Debian cannot be fetched: {error}", file=sys.stderr)
        return 0
    expected = both_modes()
    got = answers(expected[0]["prompt"], expected[0]["max_tokens"])
    for case, answer in zip(expected, got, strict=True):
        wanted = {"token_ids": case["token_ids"], "kept": [view["kept"] for view in case["pruned"]]}
        if wanted != {name: answer[name] for name in wanted}:
            raise SystemExit(f"another answer on ARM: got {answer}, expected {wanted}")
    print(f"Kotlin runtime on ARM64 under qemu: {len(got)} answers as in Python")
    return 0


if __name__ == "__main__":
    sys.exit(main())
