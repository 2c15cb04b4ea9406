"""Formats numbers and names for the page."""

import unicodedata


def plain(text: object) -> str:
    """Removes control and direction characters, which could make text look like something else.

    >>> plain("safe\\u202egnp.exe\\n")
    'safegnp.exe'
    """
    return "".join(char for char in str(text) if unicodedata.category(char)[0] != "C")


def ms(value: float) -> str:
    """Formats milliseconds, as seconds from 1000 ms on.

    >>> ms(0.234), ms(12.34), ms(345.6), ms(4906.0)
    ('0.2 ms', '12.3 ms', '346 ms', '4.91 s')
    """
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


def times(ratio: float) -> str:
    """Formats a speedup.

    >>> times(2.834) == "2.83\N{MULTIPLICATION SIGN}"
    True
    """
    return f"{ratio:.2f}\N{MULTIPLICATION SIGN}"


def percent(share: float) -> str:
    """Formats a fraction as a percentage.

    >>> percent(0.8889)
    '88.9 %'
    """
    return f"{100 * share:.1f} %"
