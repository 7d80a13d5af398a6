"""What is in a session on disk: CRIU's images, read and changed field by field."""
import json
import pathlib
import struct
import subprocess

MARK = b"SPORESC1"


def read_checkpoint(spored, name, owner=0):
    """(its record, {path of a plain file: bytes}): the format is daemon/sessions/session_archive.h's."""
    place = pathlib.Path(spored.state, "session-checkpoints", str(owner), name)
    data = subprocess.run(["zstd", "-dcq", place / "session.zst"], capture_output=True,
                          check=True).stdout
    assert data.startswith(MARK)
    at, folders, files = len(MARK), [], {}

    def number():
        nonlocal at
        at += 8
        return struct.unpack_from("<Q", data, at - 8)[0]

    def text():
        nonlocal at
        size = number()
        at += size
        return data[at - size:at]

    while (kind := data[at]) != 0:
        at += 1
        if kind == 2:  # up
            folders.pop()
            continue
        path = "/".join([*folders, text().decode()])
        if kind == 4:  # a hard link
            text()
            continue
        number(), number(), number()  # mode, time
        if kind == 1:
            folders.append(path.rsplit("/", 1)[-1])
        elif kind == 3:
            content = bytearray(number())
            while True:
                offset, size = number(), number()
                if size == 0:
                    break
                content[offset:offset + size] = data[at:at + size]
                at += size
            files[path] = bytes(content)
        elif kind == 5:
            text()
    return json.loads((place / "checkpoint.json").read_text()), files


def take_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def fields(message):
    """[(number, kind, value)]: a number, or bytes."""
    at, out = 0, []
    while at < len(message):
        key, at = take_varint(message, at)
        if key & 7 == 0:
            value, at = take_varint(message, at)
        else:
            size, at = take_varint(message, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value = message[at:at + size]
            at += size
        out.append((key >> 3, key & 7, value))
    return out


def message(parts):
    out = b""
    for number, kind, value in parts:
        out += varint(number << 3 | kind)
        out += varint(value) if kind == 0 else (varint(len(value)) if kind == 2 else b"") + value
    return out


def entries(image):
    at, out = 8, []
    while at < len(image):
        size, = struct.unpack_from("<I", image, at)
        out.append(image[at + 4:at + 4 + size])
        at += 4 + size
    return out


def image(header, parts):
    return header + b"".join(struct.pack("<I", len(part)) + part for part in parts)


def change(data, path, edit, first=8):
    """An image with what is at `path`, numbers of fields, put through `edit`."""
    def inside(text, numbers):
        if not numbers:
            return edit(text)
        return message([(n, k, inside(v, numbers[1:]) if n == numbers[0] else v)
                        for n, k, v in fields(text)])

    return image(data[:first], [inside(part, path) for part in entries(data)])
