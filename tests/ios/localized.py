"""Finds the texts of the app's views that a person reads, as Xcode would extract them."""

import re
from pathlib import Path

_CALLS = (
    "Text|Label|Button|Tab|Section|TextField|Picker|Stepper|LabeledContent|ShareLink|ContentUnavailableView|ProgressView"
    r"|Menu|navigationTitle|accessibilityLabel|accessibilityValue|alert|confirmationDialog|chartYAxisLabel|row|line|accessibilityAction\(named:"
)
_START = re.compile(
    rf'(?:\b(?:{_CALLS})\(|accessibilityAction\(named: |String\(localized: |description: Text\(|prompt: Text\()\s*"'
)
_WORDS = re.compile(r'case \.\w+: "')
_CHOICES = re.compile(r'(?:Text|TextField|accessibilityLabel)\(\s*[^"\n]*\? "([^"\\]+)" : "([^"\\]+)"')


def texts(source: str) -> set[str]:
    r"""Returns the literals at the places of localized texts, each interpolation as `\()`.

    >>> sorted(texts('Text("a \(f("x")) b"); Image(systemName: "y"); Text(x ? "c" : "d")'))
    ['a \\() b', 'c', 'd']
    """
    starts = [match.end() for match in _START.finditer(source)]
    if "LocalizedStringKey {" in source:
        body = source[source.index("LocalizedStringKey {") :]
        starts += [len(source) - len(body) + match.end() for match in _WORDS.finditer(body[: body.index("\n}")])]
    found = {_literal(source, start) for start in starts}
    return found | {words for match in _CHOICES.finditer(source) for words in match.groups()}


def texts_of(folder: Path) -> set[str]:
    """Returns the texts of all sources below a folder that have a letter in them."""
    found = set().union(*(texts(path.read_text()) for path in folder.rglob("*.swift")))
    return {text for text in found if re.search(r"[^\W\d_]", text.replace("\\()", ""))}


def _literal(source: str, start: int) -> str:
    out, at = "", start
    while source[at] != '"':
        if source.startswith("\\(", at):
            at, out = _closing(source, at + 2), out + "\\()"
        else:
            at, out = at + 1, out + source[at]
    return out


def _closing(source: str, at: int) -> int:
    """Returns the place behind the parenthesis that closes an interpolation."""
    depth = 1
    while depth:
        depth += {"(": 1, ")": -1}.get(source[at], 0)
        at += 1
    return at
