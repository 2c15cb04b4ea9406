"""Defines what every part of the manifest shares: plain names, ranges of numbers, the frozen record."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vlmprune_runtime.errors import short_repr

MAJOR, MINOR = 2, 3
"""The version of the manifest that this package writes; it reads every minor version of this major one."""

MANIFEST = "bundle.json"
PACKAGE_SUFFIX = ".mlpackage"

Dtype = Literal["float32", "float16", "int64", "int32", "uint8", "int8"]
Quantisation = Literal["none", "int8", "int4", "pal4", "8da8w", "8da4w"]
ComputeUnits = Literal["ALL", "CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY"]
Positive = Annotated[int, Field(gt=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Std = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def plain_name(name: str) -> str:
    """Returns `name` if it is a plain file name inside the bundle folder. Raises `ValueError` otherwise.

    >>> plain_name("vision.onnx")
    'vision.onnx'
    >>> plain_name("../secret")
    Traceback (most recent call last):
    ...
    ValueError: '../secret' is not a plain file name
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) or ".." in name:
        raise ValueError(f"{short_repr(name)} is not a plain file name")
    return name


def listed_name(name: str) -> str:
    """Returns `name` if it is a plain file name, or the path of a file inside a `.mlpackage` folder.

    >>> listed_name("head.mlpackage/Data/com.apple.CoreML/weights/weight.bin")
    'head.mlpackage/Data/com.apple.CoreML/weights/weight.bin'
    >>> listed_name("head.mlpackage/../secret")
    Traceback (most recent call last):
    ...
    ValueError: '..' is not a plain file name
    """
    package, *inside = name.split("/")
    if not inside or not is_package(package):
        return plain_name(name)
    for part in (package, *inside):
        plain_name(part)
    return name


def is_package(name: str) -> bool:
    """Says whether a stage's file is a Core ML package, which is a folder of files."""
    return name.endswith(PACKAGE_SUFFIX)


FileName = Annotated[str, AfterValidator(plain_name)]
ListedName = Annotated[str, AfterValidator(listed_name)]


class Record(BaseModel):
    """Is the base of all records, which are frozen and refuse unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
