"""The interpreter of a session: runs pieces of code one after another, in one namespace.

What comes and goes is in zygote/session_protocol.h and session_interpreter.h.
"""

import ast
import builtins
import json
import linecache
import os
import signal
import struct
import sys
import traceback
import types

import _spore
import spore_renew

_LOAD, _LOADED, _RESPONSE = 1, 17, 18
_DATA, _FLAGS, _NAME, _VARIABLE = 3, 6, 34, 20
_VALUE, _JSON, _FORM, _ERROR_TYPE, _ERROR_MESSAGE, _ERROR_LINE = 39, 40, 41, 42, 43, 44
_CUT = 2048

_MOST_VALUE = 256 << 10
_MOST_JSON = 512 << 10
_MOST_LINES = 200
_MOST_MESSAGE = 16 << 10
# By which an object offers other forms of itself, as notebooks ask for them.
_FORMS = {"_repr_html_": "text/html", "_repr_markdown_": "text/markdown", "_repr_svg_": "image/svg+xml",
          "_repr_png_": "image/png", "_repr_jpeg_": "image/jpeg", "_repr_latex_": "text/latex"}

_running = False


def _field(tag, data):
    return struct.pack("<HI", tag, len(data)) + data


def _number(tag, value):
    return _field(tag, struct.pack("<Q", value))


def _text(tag, text, most):
    return _field(tag, text.encode("utf-8", "replace")[:most])


def _fields(body):
    at = 0
    while at < len(body):
        tag, length = struct.unpack_from("<HI", body, at)
        at += 6 + length
        yield tag, body[at - length:at]


def _on_interrupt(_signal, _frame):
    if _running:
        raise KeyboardInterrupt


def _whole_or_cut(text, most):
    data = text.encode("utf-8", "replace")
    return (data, False) if len(data) <= most else (data[:most].decode("utf-8", "ignore").encode(), True)


def _plain(value):
    """Of numpy's arrays and numbers."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist") and getattr(value, "size", 1) <= 65536:
        return value.tolist()
    raise TypeError


def _as_json(value):
    """The value as JSON; nothing if it is none, or long."""
    parts, length = [], 0
    try:
        for part in json.JSONEncoder(allow_nan=False, default=_plain).iterencode(value):
            parts.append(part)
            length += len(part)
            if length > _MOST_JSON:
                return b""
        data = "".join(parts).encode()
    except (TypeError, ValueError, RecursionError, OverflowError):
        return b""
    return data if len(data) <= _MOST_JSON else b""


def _forms(value):
    fields, left = [], _MOST_JSON
    if isinstance(value, type):
        return b""
    for method, media_type in _FORMS.items():
        try:
            made = getattr(value, method, None)
            made = made() if made is not None else None
        except Exception:  # an object that cannot show itself in this way
            continue
        data = made.encode("utf-8", "replace") if isinstance(made, str) else made
        if isinstance(data, bytes) and len(data) <= left:
            left -= len(data)
            fields.append(_field(_FORM, _field(_NAME, media_type.encode()) + _field(_DATA, data)))
    return b"".join(fields)


def _describe_value(value):
    if value is None:
        return b""
    data, cut = _whole_or_cut(repr(value), _MOST_VALUE)
    fields = _field(_VALUE, data) + _number(_FLAGS, _CUT if cut else 0)
    as_json = _as_json(value)
    if as_json:
        fields += _field(_JSON, as_json)
    return fields + _forms(value)


def _describe_error(error, trace):
    try:
        lines = "".join(traceback.format_exception(type(error), error, trace)).splitlines()
    except Exception as other:  # its own __str__ may raise
        lines = [f"{type(error).__name__}: cannot be described: {type(other).__name__}"]
    try:
        message = str(error)
    except Exception:
        message = ""
    if len(lines) > _MOST_LINES:
        lines = lines[:_MOST_LINES // 2] + ["  .."] + lines[-_MOST_LINES // 2:]
    fields = _text(_ERROR_TYPE, type(error).__name__, 256) + _text(_ERROR_MESSAGE, message, _MOST_MESSAGE)
    return fields + b"".join(_text(_ERROR_LINE, line, 1024) for line in lines)


def _compile(text, name):
    """All but a last expression, and that."""
    tree = ast.parse(text, name)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = compile(ast.Expression(tree.body.pop().value), name, "eval", dont_inherit=True)
    return compile(tree, name, "exec", dont_inherit=True), last


def _run(text, name, namespace, run):
    """The fields of what came of it."""
    global _running
    # A frame of ours lies below the code's: it is taken off the traceback.
    try:
        signal.signal(signal.SIGINT, _on_interrupt)  # the code before may have taken it
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        _running = True
        _spore.send(_LOADED, run, b"")
        body, last = _compile(text, name)
        exec(body, namespace)
        value = eval(last, namespace) if last is not None else None
        if value is not None:
            builtins._ = value
        fields = _describe_value(value)
        _running = False
        return fields
    except BaseException as error:  # SystemExit, too: the session goes on
        _running = False
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, ast.__file__):
            trace = trace.tb_next
        return _describe_error(error, trace)
    finally:
        _running = False


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # closed, or replaced by the code
            pass


def _renew():
    """In a branch: what its source, and its siblings, would draw too."""
    try:
        if "random" in sys.modules:
            sys.modules["random"].seed()
        spore_renew.renew()
    except Exception:  # the code has put others in their place
        pass


def serve():
    # One that comes between two pieces of code is too late for the first and too early for the second.
    signal.signal(signal.SIGINT, _on_interrupt)
    load = _spore.receive()
    if load is None:
        os._exit(125)
    for tag, data in _fields(load[2]):
        if tag == _VARIABLE:
            name, _, value = os.fsdecode(data).partition("=")
            os.environ[name] = value
    # The zygote has prepared for a function, as is the usual case.
    sys.path[0] = "/tmp"
    sys.argv = [""]
    main = types.ModuleType("__main__")
    main.__builtins__ = builtins
    sys.modules["__main__"] = main
    while (frame := _spore.receive()) is not None:
        kind, run, body = frame
        if kind == _LOAD:
            _renew()
            continue
        fields = _run(body.decode("utf-8", "replace"), f"<code {run}>", main.__dict__, run)
        _flush()
        if not _spore.send(_RESPONSE, run, fields):
            break
    os._exit(0)
