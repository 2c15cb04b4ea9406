"""Every text that a person reads in the iOS app is in its string catalogue, and in German."""

import json
import re
from pathlib import Path

from localized import texts, texts_of

APP = Path(__file__).parents[2] / "ios_demo" / "App"
SPECIFIER = re.compile(r"%(?:\d\$)?(?:@|lld)")


def catalogue() -> dict[str, str]:
    """Each text with its German words."""
    strings = json.loads((APP / "Localizable.xcstrings").read_text())["strings"]
    return {key: one["localizations"]["de"]["stringUnit"]["value"] for key, one in strings.items()}


def test_the_catalogue_has_exactly_the_texts_of_the_views() -> None:
    assert {SPECIFIER.sub(r"\\()", key) for key in catalogue()} == texts_of(APP)


def test_the_german_words_take_what_the_english_ones_do() -> None:
    for english, german in catalogue().items():
        kinds = [[one[-1] for one in SPECIFIER.findall(words)] for words in (english, german)]
        assert sorted(kinds[0]) == sorted(kinds[1]) and german, english


def test_a_text_that_was_forgotten_is_found() -> None:
    assert texts('Text("new \\(f("x")) words")') == {"new \\() words"}
