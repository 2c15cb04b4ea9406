"""Finds how a chat template edits a user's text, by rendering texts that make each edit visible."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from vlmprune_runtime.prompt import apply_edits
from vlmprune_runtime.schema import Replace, Strip, UserTextSegment

# What Python's and Jinja's strip take for white space.
WHITE_SPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B)))
WHITE_SPACE += "\u2028\u2029\u202f\u205f\u3000"
# What templates escape for HTML or JSON, or take for the end of a line.
_ESCAPED = ("&", "<", ">", "'", '"', "\\", "\n", "\r", "\t", "  ", "\n\n", "\r\n")
_ORDINARY = (
    "What is it?",
    "Na\u00efve \u6f22\u5b57 \N{GRINNING FACE}",
    "{{ x }} {% y %} {prompt}",
    "ALL 1 < 2",
)
_BEGIN, _END = "Qz7Begin", "eNd3zQ"
MARK = _BEGIN + _END  # letters that no template contains, in both cases

Edit = Strip | Replace
Written = Callable[[str], str | None]


def find_edits(written: Written, literals: Iterable[str]) -> tuple[UserTextSegment, list[str]]:
    """Returns the edits, and those of the rendered texts that the edits do not explain.

    `written` gives what the template makes of a text, None where it changes something else in the prompt as well.
    `literals` are strings that the template may look for.
    """
    strips = _strips(written)
    replacements = _replacements(written, [*literals, *_ESCAPED])
    orders: list[tuple[Edit, ...]] = [(*strips, *replacements), (*replacements, *strips)]
    shown = list(_shown([edit.old for edit in replacements], literals))
    seen = {text: written(text) for text in shown}
    tried = [UserTextSegment(edits=order) for order in orders]
    unexplained = [[text for text in shown if apply_edits(segment, text) != seen[text]] for segment in tried]
    best = min(range(len(orders)), key=lambda nth: len(unexplained[nth]))
    return tried[best], unexplained[best]


def _strips(written: Written) -> list[Strip]:
    """Returns the white space that the template removes at the ends of a text."""
    seen = {letter: written(letter + MARK + letter) for letter in WHITE_SPACE}
    start = "".join(letter for letter, text in seen.items() if text is not None and text.startswith(_BEGIN))
    end = "".join(letter for letter, text in seen.items() if text is not None and text.endswith(_END))
    if start == end:
        return [Strip(side="both", characters=start)] if start else []
    strips = [Strip(side="start", characters=start)] if start else []
    return [*strips, Strip(side="end", characters=end)] if end else strips


def _replacements(written: Written, searched: Iterable[str]) -> list[Replace]:
    """Returns the strings that the template replaces; those that a shorter one explains are left out."""
    replacements: list[Replace] = []
    for old in sorted(set(searched), key=lambda text: (len(text), text)):
        seen = written(_BEGIN + old + _END)
        explained = seen == apply_edits(UserTextSegment(edits=tuple(replacements)), _BEGIN + old + _END)
        if seen is None or explained or not (seen.startswith(_BEGIN) and seen.endswith(_END)):
            continue
        replacements.append(Replace(old=old, new=seen[len(_BEGIN) : len(seen) - len(_END)]))
    return _ordered(replacements)


def _ordered(replacements: Sequence[Replace]) -> list[Replace]:
    """Orders the replacements: first those whose string the others write (`&`, the backslash), then by length."""
    return sorted(replacements, key=lambda one: (-sum(one.old in other.new for other in replacements), -len(one.old)))


def _shown(replaced: Sequence[str], literals: Iterable[str]) -> Iterator[str]:
    """Yields the texts on which template and edits must agree; none of them is nothing but white space."""
    yield from _ORDINARY
    for text in (*replaced, *_ESCAPED, *sorted(literals), " ", "\n \t", "\u3000", "   "):
        yield from (_BEGIN + text + _END, text + MARK, MARK + text, f" {text} {MARK} {text} ")
    yield _BEGIN + "".join(_ESCAPED) + _END
