#!/usr/bin/env python3
"""Writes artifacts.lock: every file that building and testing without Gradle needs, with its SHA-256.

Run it after a change of a version in libs.versions.toml. It walks the POMs from the catalogue's libraries and takes the
highest version that anybody asks for, as Gradle does; Maven alone would take the nearest one, and would look for jars
where AndroidX publishes AARs.
"""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from artifacts import LOCK, NPM, Artifact, catalogue, fetch_maven, m2_path, sha256_of

POM = "{http://maven.apache.org/POM/4.0.0}"
APP = ("compose-foundation", "compose-ui", "compose-material3", "activity-compose", "core-ktx", "fbjni",
       "lifecycle-runtime-compose", "lifecycle-viewmodel-compose", "coroutines-android", "jackson-core", "nativeloader",
       "kotlin-stdlib")  # fmt: skip
TEST = ("robolectric", "junit", "compose-ui-test", "test-core", "test-ext-junit", "onnxruntime-jvm",
        "json-schema-validator")  # fmt: skip
# Libraries of one group are released together, and mixing their versions breaks them.
ALIGNED = {
    "androidx.compose.ui": "compose", "androidx.compose.runtime": "compose", "androidx.compose.foundation": "compose",
    "androidx.compose.animation": "compose", "androidx.compose.material": "compose",
    "androidx.lifecycle": "lifecycle", "androidx.activity": "activity",
}  # fmt: skip
# It has the same classes as runtime-annotation-android.
OTHER_PLATFORM = {("androidx.compose.runtime", "runtime-annotation-jvm")}


@dataclass
class Graph:
    """The highest version of each (group, artifact), its packaging, and what it depends on."""

    versions: dict[tuple[str, str], str] = field(default_factory=dict)
    packaging: dict[tuple[str, str], str] = field(default_factory=dict)
    edges: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)


def version_key(version: str) -> list[tuple[int, str]]:
    """Returns a key that sorts a pre-release before its release."""
    parts = re.split(r"[.\-]", version.strip("[]()").split(",")[0])
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts] + [(0, "")]


def text_of(element: ElementTree.Element, name: str) -> str:
    """Returns the text of an element's child, empty where it has no such child."""
    return (element.findtext(POM + name) or "").strip()


def properties(path: Path) -> dict[str, str]:
    """Returns the properties of a POM and of its parents."""
    root = ElementTree.parse(path).getroot()
    found = {} if (parent := root.find(POM + "parent")) is None else properties(parent_path(parent))
    for entry in root.findall(f"{POM}properties/*"):
        found[entry.tag.removeprefix(POM)] = (entry.text or "").strip()
    for name in ("version", "groupId"):
        if value := text_of(root, name):
            found[f"project.{name}"] = value
    return found


def parent_path(parent: ElementTree.Element) -> Path:
    """Returns where Maven keeps the POM of a parent, which is fetched."""
    artifact = Artifact(
        "pom", text_of(parent, "groupId"), text_of(parent, "artifactId"), text_of(parent, "version"), "pom"
    )
    fetch_maven([artifact])
    return m2_path(artifact)


def managed(path: Path) -> dict[tuple[str, str], str]:
    """Returns the versions that a POM and its parents set for dependencies without one."""
    root = ElementTree.parse(path).getroot()
    found = {} if (parent := root.find(POM + "parent")) is None else managed(parent_path(parent))
    for entry in root.findall(f"{POM}dependencyManagement/{POM}dependencies/{POM}dependency"):
        if text_of(entry, "scope") == "import":
            bom = Artifact(
                "pom",
                text_of(entry, "groupId"),
                text_of(entry, "artifactId"),
                expand(text_of(entry, "version"), path),
                "pom",
            )
            fetch_maven([bom])
            found |= managed(m2_path(bom))
        else:
            found[text_of(entry, "groupId"), text_of(entry, "artifactId")] = expand(text_of(entry, "version"), path)
    return found


def expand(text: str, path: Path) -> str:
    """Returns a text with the properties of a POM in place of their names."""
    known = properties(path)
    while (expanded := re.sub(r"\$\{([^}]+)\}", lambda match: known.get(match[1], match[0]), text)) != text:
        text = expanded
    return text


def read_pom(path: Path) -> tuple[str, list[tuple[str, str, str]]]:
    """Returns the packaging and the (group, artifact, version) of what is needed at run time."""
    if not path.exists():
        print(f"not to be had: {path.name}")
        return "none", []
    root = ElementTree.parse(path).getroot()
    versions = managed(path)
    needed = []
    for entry in root.findall(f"{POM}dependencies/{POM}dependency"):
        if text_of(entry, "scope") in ("test", "provided", "system") or text_of(entry, "optional") == "true":
            continue
        key = (expand(text_of(entry, "groupId"), path), text_of(entry, "artifactId"))
        version = expand(text_of(entry, "version"), path) or versions.get(key, "")
        if version and not text_of(entry, "classifier"):
            needed.append((*key, version.strip("[]()").split(",")[0]))
    packaging = text_of(root, "packaging") or "jar"
    return ("jar" if packaging == "bundle" else packaging), needed


def aligned(group: str, artifact: str, version: str) -> str:
    """Returns the version of an artifact, raised to that of its group where the catalogue sets it."""
    name = ALIGNED.get(group)
    return (
        catalogue()["versions"][name]
        if name and version_key(version) < version_key(catalogue()["versions"][name])
        else version
    )


def resolve(roots: list[tuple[str, str, str]]) -> list[Artifact]:
    """Returns every library that the roots need, each in the highest version that is asked for."""
    graph, level = Graph(), roots
    while level:
        wanted: dict[tuple[str, str], str] = {}
        for group, artifact, version in level:
            chosen = aligned(group, artifact, version)
            best = max(
                (v for v in (wanted.get((group, artifact)), graph.versions.get((group, artifact))) if v),
                key=version_key,
                default="0",
            )
            if version_key(chosen) > version_key(best):
                wanted[group, artifact] = chosen
        fetch_maven([Artifact("pom", *key, version, "pom") for key, version in wanted.items()])
        level = []
        for key, version in wanted.items():
            graph.versions[key] = version
            graph.packaging[key], needed = read_pom(m2_path(Artifact("pom", *key, version, "pom")))
            graph.edges[key] = [(group, artifact) for group, artifact, _ in needed]
            level += needed
    return reachable(graph, [(group, artifact) for group, artifact, _ in roots])


def reachable(graph: Graph, roots: list[tuple[str, str]]) -> list[Artifact]:
    """Returns the libraries that the roots need, without those for other platforms."""
    seen: set[tuple[str, str]] = set()
    stack = list(roots)
    while stack:
        key = stack.pop()
        if key not in seen:
            seen.add(key)
            stack += graph.edges[key]
    seen -= OTHER_PLATFORM
    return [
        Artifact("", *key, graph.versions[key], graph.packaging[key])
        for key in sorted(seen)
        if graph.packaging[key] in ("jar", "aar")
    ]


def roots(names: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Returns group, artifact and version of libraries that the catalogue names."""
    libraries, versions = catalogue()["libraries"], catalogue()["versions"]
    return [(*libraries[name]["module"].split(":"), versions[libraries[name]["version"]["ref"]]) for name in names]


def tools() -> dict[str, list[tuple[str, str, str]]]:
    """Returns the build's own programs, by the set that they belong to."""
    kotlin, agp = catalogue()["versions"]["kotlin"], catalogue()["versions"]["agp"]
    return {
        "kotlinc": [("org.jetbrains.kotlin", "kotlin-compiler-embeddable", kotlin),
                    ("org.jetbrains.kotlin", "kotlin-compose-compiler-plugin-embeddable", kotlin)],
        "merger": [("com.android.tools.build", "manifest-merger", "32.5.1")],
        "bundletool": [("com.android.tools.build", "bundletool", "1.18.3")],
        "r8": [("com.android.tools", "r8", "9.5.28")],
        "apksig": [("com.android.tools.build", "apksig", agp)],
    }  # fmt: skip


SINGLE = [
    Artifact("gradle", "com.android.tools.build", "gradle-api", catalogue()["versions"]["agp"], "jar"),
    Artifact("gradle", "com.android.tools.build", "gradle-common-api", catalogue()["versions"]["agp"], "jar"),
    Artifact("gradle", "dev.gradleplugins", "gradle-api", "8.11.1", "jar"),
    Artifact("framework", "org.robolectric", "android-all", "16-robolectric-13921718", "jar"),
    Artifact("oldest", "org.robolectric", "android-all", "8.0.0_r4-robolectric-r1", "jar"),
    Artifact("robolectric-host", "org.robolectric", "android-all", "15-robolectric-13954326", "jar"),
    Artifact("robolectric-sdk", "org.robolectric", "android-all-instrumented", "15-robolectric-13954326-i7", "jar"),
    Artifact("aapt2", "org.apktool", "apktool-lib", "3.0.3", "jar"),
]


def main() -> None:
    """Resolves all libraries and programs, and writes artifacts.lock."""
    both = resolve(roots(APP + TEST))
    app = {(a.group, a.name) for a in resolve(roots(APP))}
    found = [a.in_set("app" if (a.group, a.name) in app else "test") for a in both]
    for name, wanted in tools().items():
        found += [a.in_set(name) for a in resolve(wanted)]
    found += SINGLE
    fetch_maven(found)
    lines = [f"{a} {sha256_of(m2_path(a))}" for a in found if m2_path(a).exists()]
    lines += [f"{a} {a.sha256}" for a in NPM]
    LOCK.write_text("\n".join(lines) + "\n")
    print(f"{LOCK}: {len(lines)} artifacts, not to be had: {[str(a) for a in found if not m2_path(a).exists()]}")


if __name__ == "__main__":
    main()
