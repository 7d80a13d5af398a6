"""A function's code as the archive that spored takes."""
from __future__ import annotations

import io
import os
import pathlib
import zipfile
from typing import Mapping, Union

Code = Union[str, "os.PathLike[str]", bytes, Mapping[str, Union[str, bytes]]]


def pack(code: Code) -> bytes:
    """`code`: a folder or an archive file (paths), an archive's bytes, or {name: content}."""
    if isinstance(code, bytes):
        return code
    if isinstance(code, Mapping):
        return _zip((name, content.encode() if isinstance(content, str) else content, 0o644)
                    for name, content in code.items())
    path = pathlib.Path(code)
    if path.is_dir():
        return _zip((str(file.relative_to(path)), file.read_bytes(), file.stat().st_mode & 0o777)
                    for file in sorted(path.rglob("*"))
                    if file.is_file() and "__pycache__" not in file.parts)
    return path.read_bytes()


def _zip(files) -> bytes:  # type: ignore[no-untyped-def]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in files:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, content)
    return buffer.getvalue()
