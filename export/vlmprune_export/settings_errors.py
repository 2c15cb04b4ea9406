"""Reports settings of a checkpoint that have a wrong type or are out of range as `BadRequest`."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from vlmprune_runtime.errors import BadRequest, VlmPruneError, first_line, short_repr

_WRONG = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


@contextmanager
def settings_of(file: str) -> Iterator[None]:
    """Raises `BadRequest` with the file and the setting for values that the block cannot take."""
    try:
        yield
    except VlmPruneError:
        raise
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"])) or error.title
        raise BadRequest(f"{file}: {name}: {problem['msg']}, got {short_repr(problem['input'])}") from None
    except _WRONG as cause:
        raise BadRequest(f"{file}: a setting has a value of a wrong kind: {first_line(cause)}") from cause
