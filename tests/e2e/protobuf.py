"""A small protobuf codec that reads the message definitions from the .proto files themselves.

Messages are dictionaries by field name. It exists so that the tests need no protobuf package and
can also send what a well-behaved library would never write.
"""
import pathlib
import re
import struct

PROTO = pathlib.Path(__file__).parents[2] / "proto/spore/v1"
VARINT_TYPES = {"int32", "int64", "uint32", "uint64", "bool"}


class Field:
    def __init__(self, kind, number, repeated=False, map_types=None):
        self.kind, self.number, self.repeated, self.map_types = kind, number, repeated, map_types


def _parse(text):
    """Returns ({message: {field name: Field}}, {enum: {name: value}}).

    An enum inside a message is known as "Message.Enum".
    """
    text = re.sub(r"//[^\n]*", "", text)
    messages, enums = {}, {}
    tokens = re.findall(r"map<\w+, *\w+>|[\w.]+|[{}=;]", text)
    stack, i = [], 0
    while i < len(tokens):
        token = tokens[i]
        if token in ("message", "enum", "service") and tokens[i + 2] == "{":
            name = ".".join([outer for _, outer in stack] + [tokens[i + 1]])
            stack.append((token, name))
            {"message": messages, "enum": enums}.get(token, {})[name] = {}
            i += 3
            continue
        if token == "}":
            stack.pop()
        elif stack and stack[-1][0] == "enum" and tokens[i + 1] == "=":
            enums[stack[-1][1]][token] = int(tokens[i + 2])
            i += 3
        elif stack and stack[-1][0] == "message":
            repeated = token == "repeated"
            if token in ("repeated", "optional"):
                i += 1
            kind, name, number = tokens[i], tokens[i + 1], int(tokens[i + 3])
            pair = re.match(r"map<(\w+), *(\w+)>", kind)
            inner = f"{stack[-1][1]}.{kind}"
            kind = "map" if pair else inner if inner in enums else kind
            groups = pair.groups() if pair else None
            messages[stack[-1][1]][name] = Field(kind, number, repeated, groups)
            i += 4
        i += 1
    return messages, enums


TEXT = "\n".join(path.read_text() for path in sorted(PROTO.glob("*.proto")))
MESSAGES, ENUMS = _parse(TEXT)


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number, wire_type):
    return varint(number << 3 | wire_type)


def delimited(number, data):
    return tag(number, 2) + varint(len(data)) + data


def _encode_value(kind, number, value):
    if kind in VARINT_TYPES:
        return tag(number, 0) + varint(int(value))
    if kind in ENUMS:
        return tag(number, 0) + varint(ENUMS[kind][value] if isinstance(value, str) else value)
    if kind == "string":
        return delimited(number, value.encode(errors="surrogateescape"))
    if kind == "bytes":
        return delimited(number, value)
    if kind == "double":
        return tag(number, 1) + struct.pack("<d", value)
    return delimited(number, encode(kind, value))


def encode(message, values):
    out = b""
    for name, value in values.items():
        field = MESSAGES[message][name]
        if field.kind == "map":
            for key, item in value.items():
                pair = _encode_value(field.map_types[0], 1, key)
                out += delimited(field.number, pair + _encode_value(field.map_types[1], 2, item))
        else:
            for item in value if field.repeated else [value]:
                out += _encode_value(field.kind, field.number, item)
    return out


def _read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def fields(data):
    """Yields (number, wire type, raw value) of an encoded message."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        if key & 7 == 0:
            value, at = _read_varint(data, at)
        elif key & 7 == 2:
            length, at = _read_varint(data, at)
            value, at = data[at : at + length], at + length
        elif key & 7 == 1:
            value, at = struct.unpack_from("<Q", data, at)[0], at + 8
        else:
            value, at = struct.unpack_from("<I", data, at)[0], at + 4
        yield key >> 3, key & 7, value


def _decode_value(kind, value):
    if kind == "bool":
        return bool(value)
    if kind in ("int32", "int64"):
        return value - (1 << 64) if value >> 63 else value
    if kind in ENUMS:
        return next((name for name, number in ENUMS[kind].items() if number == value), value)
    if kind == "string":
        return value.decode()
    if kind in VARINT_TYPES or kind == "bytes":
        return value
    if kind == "double":
        return struct.unpack("<d", struct.pack("<Q", value))[0]
    return decode(kind, value)


def _default(field):
    if field.kind == "map":
        return {}
    if field.repeated:
        return []
    if field.kind in MESSAGES:
        return None
    if field.kind in ENUMS:
        return next(iter(ENUMS[field.kind]))
    return {"string": "", "bytes": b"", "bool": False}.get(field.kind, 0)


def decode(message, data):
    by_number = {field.number: (name, field) for name, field in MESSAGES[message].items()}
    values = {name: _default(field) for name, field in MESSAGES[message].items()}
    for number, _, raw in fields(data):
        if number not in by_number:
            continue
        name, field = by_number[number]
        if field.kind == "map":
            pair = {n: v for n, _, v in fields(raw)}
            key = _decode_value(field.map_types[0], pair.get(1, b""))
            values[name][key] = _decode_value(field.map_types[1], pair.get(2, 0))
        elif field.repeated:
            values[name].append(_decode_value(field.kind, raw))
        else:
            values[name] = _decode_value(field.kind, raw)
    return values
