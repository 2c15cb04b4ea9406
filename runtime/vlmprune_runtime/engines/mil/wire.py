"""Protocol buffers as far as Core ML files need them: fields of a message by number."""

import struct
from collections.abc import Iterator

_WORD = 2**64 - 1
Field = int | memoryview
Message = dict[int, list[Field]]


def message(data: memoryview) -> Message:
    """All fields of a serialised message; `ValueError` for bytes that are none.

    >>> message(memoryview(bytes([0x08, 0x96, 0x01, 0x12, 0x02]) + b"hi"))[1]
    [150]
    """
    found: Message = {}
    for number, value in _fields(data):
        found.setdefault(number, []).append(value)
    return found


def messages(parent: Message, number: int) -> list[Message]:
    """A repeated message field."""
    return [message(view(value)) for value in parent.get(number, [])]


def child(parent: Message, number: int) -> Message:
    """A message field, empty where it is absent; the last one counts."""
    found = parent.get(number)
    return message(view(found[-1])) if found else {}


def entries(parent: Message, number: int) -> Iterator[tuple[str, Message]]:
    """A map field with text keys and message values."""
    for entry in messages(parent, number):
        yield text(entry, 1), child(entry, 2)


def text(parent: Message, number: int) -> str:
    """A string field, empty where it is absent."""
    found = parent.get(number)
    return bytes(view(found[-1])).decode() if found else ""


def integer(parent: Message, number: int) -> int:
    """An integer field, 0 where it is absent."""
    found = parent.get(number, [0])[-1]
    if not isinstance(found, int):
        raise ValueError(f"field {number} is no integer")
    return found


def view(value: Field) -> memoryview:
    """The bytes of a length-delimited field."""
    if isinstance(value, int):
        raise ValueError("expected a message, found an integer")
    return value


def varints(parent: Message, number: int) -> list[int]:
    """A repeated integer field, packed or not, as unsigned."""
    found: list[int] = []
    for value in parent.get(number, []):
        if isinstance(value, int):
            found.append(value)
            continue
        place = 0
        while place < len(value):
            one, place = _varint(value, place)
            found.append(one)
    return found


def _fields(data: memoryview) -> Iterator[tuple[int, Field]]:
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == 2:
            size, place = _varint(data, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {place}")
        if place + size > len(data):
            raise ValueError(f"ends at byte {len(data)} inside field {number}")
        yield number, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise ValueError(f"broken integer at byte {place}")
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & _WORD, place
        shift += 7


def floats(parent: Message, number: int, kind: str) -> list[float]:
    """A repeated float ("f") or double ("d") field, packed or not."""
    raw = b"".join(bytes(view(value)) for value in parent.get(number, []))
    if len(raw) % struct.calcsize(kind):
        raise ValueError(f"field {number} ends inside a number")
    return list(struct.unpack(f"<{len(raw) // struct.calcsize(kind)}{kind}", raw))
