"""Formats a number of bytes as text, in one way for every command and page."""

KIBI, MEBI, GIBI = 2**10, 2**20, 2**30


def format_bytes(size_bytes: float) -> str:
    """Returns the size with a binary unit and at least two digits.

    >>> format_bytes(700), format_bytes(2048), format_bytes(3_000_000), format_bytes(300 * MEBI), format_bytes(5 * GIBI)
    ('700 B', '2.0 KiB', '2.9 MiB', '300 MiB', '5.00 GiB')
    """
    if size_bytes >= GIBI:
        return f"{size_bytes / GIBI:.2f} GiB"
    if size_bytes >= 100 * MEBI:
        return f"{size_bytes / MEBI:.0f} MiB"
    if size_bytes >= MEBI:
        return f"{size_bytes / MEBI:.1f} MiB"
    return f"{size_bytes / KIBI:.1f} KiB" if size_bytes >= KIBI else f"{size_bytes:.0f} B"
