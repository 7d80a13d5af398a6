"""Serves a function: loads its handler, then answers one invocation after another.

Frames are zygote/protocol.h's. Everything here runs in the tenant's process; nothing of Spore's
security depends on it.
"""

import importlib
import json
import marshal
import os
import struct
import sys
import time
import traceback
import types
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)

import _spore
import spore_measure
from spore_context import Context

LOAD, INVOKE, CODE = 1, 2, 4
LOADED, RESPONSE, FAILED, FATAL, COMPILED = 17, 18, 19, 20, 21
_TASK_ROOT = "/var/task"
_MAX_FRAMES = 64
# Together, with six bytes a character at most, less than the daemon takes.
_MAX_LINE = 1024
_MAX_MESSAGE = 64 * 1024
_MAX_COMPILED = 256 * 1024
_SPARE_HEAP = 32 * 1024
# json.dumps with these options would make an encoder for each call.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_scan = json.JSONDecoder().scan_once
_CACHED = f"__pycache__/%s.{sys.implementation.cache_tag}.pyc"


class LoadError(Exception):
    """The handler cannot be had; `kind` is the error type that the caller sees."""

    def __init__(self, kind, message, stack=()):
        super().__init__(message)
        self.kind = kind
        self.stack = list(stack)


def _stack(error):
    """The tenant's part of the stack, innermost last, as Lambda prints it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith(("/run/spore/host/", "<frozen importlib"))]
    return [line.rstrip("\n") for line in traceback.format_list(own[-_MAX_FRAMES:])]


def _sound(text, limit):
    """The text without what UTF-8 cannot hold: a lone surrogate would spoil the whole report."""
    return text[:limit].encode(errors="replace").decode()


def _describe(kind, message, stack):
    text = {
        "errorType": _sound(kind, _MAX_LINE),
        "errorMessage": _sound(str(message), _MAX_MESSAGE),
        "stackTrace": [_sound(line, _MAX_LINE) for line in stack],
    }
    return _encode(text).encode()


def _message(error):
    try:
        return str(error)
    except Exception as second:  # a tenant's __str__ may fail too
        return f"<message of {type(error).__name__} not printable: {type(second).__name__}>"


def _parse(body):
    """json.loads; what it does around the parser itself takes three times as long as that."""
    try:
        text = body.decode()
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (ValueError, StopIteration, RecursionError):
        pass
    return json.loads(body)  # white space around it, another encoding, or what is wrong


def _new_module(name, path, root):
    """importlib.util.module_from_spec(spec_from_file_location(name, path)), without the search for
    what is known."""
    loader = SourceFileLoader(name, path)
    spec = ModuleSpec(name, loader, origin=path)
    spec.has_location = True
    spec.cached = f"{root}/{_CACHED % name}"
    module = types.ModuleType(name)
    module.__dict__.update(__loader__=loader, __package__="", __spec__=spec, __file__=path,
                           __cached__=spec.cached)
    return module


def _import(name, root, compiled, tell):
    """importlib.import_module, with a short way for the usual case: a plain file in the root.

    The long way asks every finder and looks for bytecode that is never there; it costs a third
    of a fresh start. Shorter still, for `compiled`: what an earlier instance of the same version has
    told of the same file. `tell`, when given, learns that here, before any of the tenant's code
    runs: nothing that runs here can change what later instances are given.
    """
    path = f"{root}/{name}.py"
    if compiled is not None:
        code = marshal.loads(compiled)
    elif name in sys.modules or os.path.isdir(f"{root}/{name}") or not os.path.isfile(path):
        if tell is not None:
            tell(b"")
        return importlib.import_module(name)
    else:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
        if tell is not None:
            tell(marshal.dumps(code))
    module = sys.modules[name] = _new_module(name, path, root)
    try:
        exec(code, module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def load_handler(spec, root, compiled=None, tell=None):
    module_name, _, attribute = spec.rpartition(".")
    module_name = module_name.replace("/", ".")
    try:
        module = _import(module_name, root, compiled, tell)
    except SyntaxError as error:
        raise LoadError(
            "Runtime.UserCodeSyntaxError",
            f"Syntax error in module '{module_name}': {error}",
            _stack(error),
        ) from None
    except ImportError as error:
        raise LoadError(
            "Runtime.ImportModuleError",
            f"Unable to import module '{module_name}': {error}",
            _stack(error),
        ) from None
    except Exception as error:
        raise LoadError(type(error).__name__, _message(error), _stack(error)) from None
    handler = getattr(module, attribute, None)
    if handler is None:
        raise LoadError(
            "Runtime.HandlerNotFound", f"Handler '{attribute}' missing on module '{module_name}'"
        )
    if not callable(handler):
        raise LoadError(
            "Runtime.HandlerNotFound",
            f"Handler '{attribute}' of module '{module_name}' is not callable",
        )
    return handler


def _enter(load, root):
    environment = load.get("environment", {})
    for name, value in environment.items():
        os.environ[name] = value
    if "TZ" in environment:
        time.tzset()
    os.chdir(root)


def _invoke(handler, load, body):
    """Calls the handler; returns the type and body of the answer's frame."""
    meta_end = 4 + int.from_bytes(body[:4], sys.byteorder)
    meta = _parse(body[4:meta_end])
    try:
        event = _parse(body[meta_end:] or b"null")
    except (ValueError, RecursionError) as error:  # not JSON, or nested beyond all reason
        text = f"Unable to unmarshal input: {error}"
        return FAILED, _describe("Runtime.UnmarshalError", text, [])
    try:
        result = handler(event, Context(load, meta))
    except Exception as error:
        return FAILED, _describe(type(error).__name__, _message(error), _stack(error))
    try:
        return RESPONSE, _encode(result).encode()
    except Exception as error:
        text = f"Unable to marshal response: {_message(error)}"
        return FAILED, _describe("Runtime.MarshalError", text, [])


def _frame(kind, body):
    return struct.pack("=IIQ", kind, len(body), 0) + body


def warm_up(host_directory, times):
    """Does all that a request will do, on Spore's own handler (see spore_warm), and takes it back.

    In the zygote it fills the interpreter's caches; CPython specialises code after eight calls, so
    ten times. In a child it makes the kernel copy the pages that this writes to, at 2 to 4 us each,
    before somebody waits for them (docs/decisions/0004): once.
    """
    load = {
        "handler": "spore_warm.handler",
        "function_name": "warm",
        "function_version": "0",
        "memory_limit_in_mb": "0",
        "environment": {"SPORE_WARM": "1"},
    }
    meta = b'{"request_id":"warm","deadline_ms":0,"arn":"arn:warm"}'
    head = len(meta).to_bytes(4, sys.byteorder) + meta
    invocations = b"".join(_frame(INVOKE, head + event)
                           for event in (b'{"a": [1, "b"], "c": {"d": 1.5}}', b"1"))
    path = f"{host_directory}/spore_warm.py"
    with open(path, "rb") as file:
        code = marshal.dumps(compile(file.read(), path, "exec", dont_inherit=True))
    # As the first instance of a function does, then as the others do.
    first = _frame(LOAD, _encode({**load, "compile": True}).encode()) + invocations
    other = _frame(CODE, code) + _frame(LOAD, _encode(load).encode()) + invocations
    before = dict(os.environ)
    sys.path.insert(0, host_directory)
    for _ in range(times):
        for frames in first, other:
            _spore.rehearse(frames)
            serve(host_directory)
            del sys.modules["spore_warm"]
    _spore.rehearse(b"")
    sys.path.remove(host_directory)
    sys.path_importer_cache.pop(host_directory, None)
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.chdir("/")
    # Left at the heap's end, where a request's larger objects will come to lie.
    bytes(_SPARE_HEAP)


def prepare():
    """In the zygote: what is so in every child that serves a function."""
    sys.path.insert(0, _TASK_ROOT)
    # A killed process cannot flush: what was printed must be on its way at each line's end.
    sys.stdout.reconfigure(line_buffering=True)
    # What the path hooks would find out about the task's directory, which is empty as yet.
    finder = FileFinder(_TASK_ROOT, (SourceFileLoader, SOURCE_SUFFIXES),
                        (SourcelessFileLoader, BYTECODE_SUFFIXES),
                        (ExtensionFileLoader, EXTENSION_SUFFIXES))
    sys.path_importer_cache[_TASK_ROOT] = finder


def without_task_root(action):
    """In a zygote: nothing below the task's directory, empty as it is, shall answer for a library."""
    sys.path.remove(_TASK_ROOT)
    action()
    sys.path.insert(0, _TASK_ROOT)


def _loaded(started, load):
    """When the handler was loaded; and of the modules that spored asks after, which are there."""
    ended = time.monotonic_ns()
    if "watch" not in load:
        return b'{"began_us":%d,"ended_us":%d}' % (started // 1000, ended // 1000)
    return _encode({"began_us": started // 1000, "ended_us": ended // 1000,
                    "imported": [name for name in load["watch"] if name in sys.modules]}).encode()


def _flush():
    """A handler may have closed its output; that is no reason to keep its answer back."""
    try:
        sys.stdout.flush()
    except Exception:
        pass


def _await_end():
    """The handler has closed the request channel. spored ends what has none, and tells why; an
    exit of our own would be told in its place."""
    while True:
        time.sleep(60)


def _tell_compiled(code):
    if not _spore.send(COMPILED, 0, code if len(code) <= _MAX_COMPILED else b""):
        os._exit(1)


def serve(root=_TASK_ROOT):
    kind, _, body = _spore.receive() or (None, 0, b"")
    compiled = None
    if kind == CODE:
        compiled = body
        kind, _, body = _spore.receive() or (None, 0, b"")
    if kind != LOAD:
        os._exit(1)
    started = time.monotonic_ns()
    load = _parse(body)
    tell = _tell_compiled if load.get("compile") else None
    measure = spore_measure.Measure(root) if load.get("measure") else None
    try:
        _enter(load, root)
        handler = load_handler(load["handler"], root, compiled, tell)
    except LoadError as error:
        _spore.send(FATAL, 0, _describe(error.kind, error, error.stack))
        os._exit(1)
    # Goes out with the first answer: two wake-ups of the daemon would cost more than they tell.
    _spore.queue(LOADED, 0, _loaded(started, load))
    if measure:
        handler = measure.report
    while frame := _spore.receive():
        kind, identifier, body = frame
        if kind != INVOKE:
            os._exit(1)
        kind, answer = _invoke(handler, load, body)
        _flush()
        if not _spore.send(kind, identifier, answer):
            _await_end()
