"""Numbers and names as the page prints them."""

import unicodedata

KIBI, MEBI, GIBI = 2**10, 2**20, 2**30


def plain(text: object) -> str:
    """Text without control and direction marks, which could make a page read as something else.

    >>> plain("safe\\u202egnp.exe\\n")
    'safegnp.exe'
    """
    return "".join(char for char in str(text) if unicodedata.category(char)[0] != "C")


def ms(value: float) -> str:
    """Milliseconds, or seconds where those are many.

    >>> ms(0.234), ms(12.34), ms(345.6), ms(4906.0)
    ('0.2 ms', '12.3 ms', '346 ms', '4.91 s')
    """
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


def size(count: float) -> str:
    """Bytes in the unit that suits them.

    >>> size(3 * 2**20), size(700), size(5 * 2**30)
    ('3.0 MiB', '700 B', '5.00 GiB')
    """
    if count >= GIBI:
        return f"{count / GIBI:.2f} GiB"
    if count >= MEBI:
        return f"{count / MEBI:.0f} MiB" if count >= 100 * MEBI else f"{count / MEBI:.1f} MiB"
    return f"{count / KIBI:.1f} KiB" if count >= KIBI else f"{count:.0f} B"


def times(ratio: float) -> str:
    """A speedup.

    >>> times(2.834) == "2.83\N{MULTIPLICATION SIGN}"
    True
    """
    return f"{ratio:.2f}\N{MULTIPLICATION SIGN}"


def percent(share: float) -> str:
    """A share of one.

    >>> percent(0.8889)
    '88.9 %'
    """
    return f"{100 * share:.1f} %"
