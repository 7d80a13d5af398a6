"""The wire form of protocol buffers, as much of it as the protocol uses.

A message is a dataclass with a tuple of Wire, one for each field. What a message holds that this
version does not know is passed over (https://protobuf.dev/programming-guides/encoding/).
"""
from __future__ import annotations

import enum
import struct
from typing import Any, ClassVar, Dict, Iterator, Tuple, Type, TypeVar

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_MASK64 = (1 << 64) - 1
_M = TypeVar("_M", bound="Message")


class WireError(ValueError):
    """Bytes that are no message."""


class Enum(enum.IntEnum):
    """Of a value that this version does not know, a member is made on the spot: UNKNOWN_7."""

    @classmethod
    def _missing_(cls, value: object) -> "Enum":
        assert isinstance(value, int)
        member = int.__new__(cls, value)
        member._name_, member._value_ = f"UNKNOWN_{value}", value
        return member


class Wire:
    """One field: its number, and how it is written."""

    __slots__ = ("number", "name", "kind", "type", "repeated", "optional")

    def __init__(self, number: int, name: str, kind: str, type_: str, repeated: bool = False,
                 optional: bool = False) -> None:
        self.number, self.name, self.kind, self.type = number, name, kind, type_
        self.repeated, self.optional = repeated, optional


class Message:
    """What every message can do."""

    WIRE: ClassVar[Tuple[Wire, ...]] = ()
    _known: ClassVar[Dict[str, type]] = {}  # messages and enums by name

    def __init_subclass__(cls) -> None:
        Message._known[cls.__name__] = cls

    def to_bytes(self) -> bytes:
        out = bytearray()
        for wire in self.WIRE:
            _write_field(out, wire, getattr(self, wire.name))
        return bytes(out)

    @classmethod
    def from_bytes(cls: Type[_M], data: bytes) -> _M:
        """Raises WireError."""
        message = cls()
        by_number = {wire.number: wire for wire in cls.WIRE}
        for number, raw in _fields(data):
            wire = by_number.get(number)
            if wire is not None:
                _read_field(message, wire, raw)
        return message


def _varint(value: int) -> bytes:
    value &= _MASK64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _write_delimited(out: bytearray, number: int, data: bytes) -> None:
    out += _varint(number << 3 | _DELIMITED)
    out += _varint(len(data))
    out += data


def _write_value(out: bytearray, number: int, kind: str, type_: str, value: Any) -> None:
    if kind == "message":
        _write_delimited(out, number, value.to_bytes())
    elif type_ == "string":
        _write_delimited(out, number, value.encode())
    elif type_ == "bytes":
        _write_delimited(out, number, bytes(value))
    elif type_ == "double":
        out += _varint(number << 3 | _FIXED64)
        out += struct.pack("<d", value)
    else:
        out += _varint(number << 3 | _VARINT)
        out += _varint(int(value))


def _write_field(out: bytearray, wire: Wire, value: Any) -> None:
    if wire.kind == "map":
        key, item = wire.type.split(":")
        for name, content in value.items():
            pair = bytearray()
            _write_value(pair, 1, "scalar", key, name)
            _write_value(pair, 2, "scalar", item, content)
            _write_delimited(out, wire.number, bytes(pair))
    elif wire.repeated:
        for item in value:
            _write_value(out, wire.number, wire.kind, wire.type, item)
    elif value is not None and (wire.optional or wire.kind == "message" or value):
        _write_value(out, wire.number, wire.kind, wire.type, value)


def _read_varint(data: memoryview, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK64, at
        shift += 7
        if shift > 63:
            raise WireError("a number of more than ten bytes")


def _fields(data: Any) -> Iterator[Tuple[int, Any]]:
    view = memoryview(data)
    at = 0
    try:
        while at < len(view):
            key, at = _read_varint(view, at)
            number, form = key >> 3, key & 7
            if form == _VARINT:
                value: Any
                value, at = _read_varint(view, at)
            elif form == _DELIMITED:
                length, at = _read_varint(view, at)
                value, at = view[at:at + length], at + length
            elif form in (_FIXED64, _FIXED32):
                size = 8 if form == _FIXED64 else 4
                value, at = view[at:at + size], at + size
            else:
                raise WireError(f"field {number} has the unknown form {form}")
            if at > len(view):
                raise WireError(f"field {number} is cut off")
            yield number, value
    except IndexError:
        raise WireError("a field is cut off") from None


def _value(kind: str, type_: str, raw: Any) -> Any:
    if kind == "message":
        return Message._known[type_].from_bytes(raw)  # type: ignore[attr-defined]
    if kind == "enum":
        return _KNOWN_ENUMS[type_](raw if raw < 1 << 63 else raw - (1 << 64))
    if type_ == "string":
        return bytes(raw).decode(errors="replace")
    if type_ == "bytes":
        return bytes(raw)
    if type_ == "double":
        return struct.unpack("<d", raw)[0]
    if type_ == "bool":
        return bool(raw)
    if type_ in ("int32", "int64"):
        return raw if raw < 1 << 63 else raw - (1 << 64)
    return raw


def _packed(wire: Wire, raw: memoryview) -> Iterator[Any]:
    """Numbers of a repeated field, as proto3 writes them: one after another."""
    if wire.type == "double":
        for at in range(0, len(raw), 8):
            yield _value(wire.kind, wire.type, raw[at:at + 8])
        return
    at = 0
    while at < len(raw):
        number, at = _read_varint(raw, at)
        yield _value(wire.kind, wire.type, number)


def _read_field(message: Message, wire: Wire, raw: Any) -> None:
    textual = wire.kind == "message" or wire.type in ("string", "bytes") or wire.kind == "map"
    if isinstance(raw, memoryview) is not (textual or wire.type == "double") and not wire.repeated:
        raise WireError(f"{type(message).__name__}.{wire.name} has a wrong form")
    if wire.kind == "map":
        key_type, item_type = wire.type.split(":")
        pair = dict(_fields(raw))
        empty: Any = b""
        key = _value("scalar", key_type, pair.get(1, empty if key_type == "string" else 0))
        item = _value("scalar", item_type,
                      pair.get(2, empty if item_type in ("string", "bytes") else 0))
        getattr(message, wire.name)[key] = item
    elif wire.repeated:
        values = getattr(message, wire.name)
        if isinstance(raw, memoryview) and not textual:
            values.extend(_packed(wire, raw))
        else:
            values.append(_value(wire.kind, wire.type, raw))
    else:
        setattr(message, wire.name, _value(wire.kind, wire.type, raw))


class _Enums:
    """Enums by name; those of the messages' module, which imports this one."""

    def __getitem__(self, name: str) -> Type[Enum]:
        return next(e for e in Enum.__subclasses__() if e.__name__ == name)


_KNOWN_ENUMS = _Enums()
