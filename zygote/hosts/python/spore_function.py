"""Serves a function: loads its handler, then answers one invocation after another.

Frames are zygote/protocol.h's. Everything here runs in the tenant's process; nothing of Spore's
security depends on it.
"""

import importlib
import json
import os
import sys
import time
import traceback

import _spore
from spore_context import Context

LOAD, INVOKE = 1, 2
LOADED, RESPONSE, FAILED, LOAD_FAILED = 17, 18, 19, 20
_TASK_ROOT = "/var/task"
_MAX_FRAMES = 64
_MAX_MESSAGE = 64 * 1024
# json.dumps with these options would make an encoder for each call.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


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


def _describe(kind, message, stack):
    text = {"errorType": kind, "errorMessage": str(message)[:_MAX_MESSAGE], "stackTrace": stack}
    return json.dumps(text).encode()


def _message(error):
    try:
        return str(error)
    except Exception as second:  # a tenant's __str__ may fail too
        return f"<message of {type(error).__name__} not printable: {type(second).__name__}>"


def load_handler(spec):
    module_name, _, attribute = spec.rpartition(".")
    module_name = module_name.replace("/", ".")
    try:
        module = importlib.import_module(module_name)
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


def _enter(load):
    os.environ.update(load.get("environment", {}))
    os.environ.update(
        LAMBDA_TASK_ROOT=_TASK_ROOT,
        _HANDLER=load["handler"],
        AWS_LAMBDA_FUNCTION_NAME=load["function_name"],
        AWS_LAMBDA_FUNCTION_VERSION=load["function_version"],
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE=load["memory_limit_in_mb"],
    )
    if "TZ" in load.get("environment", {}):
        time.tzset()
    os.chdir(_TASK_ROOT)
    sys.path.insert(0, _TASK_ROOT)
    # A killed process cannot flush: what was printed must be on its way at each line's end.
    sys.stdout.reconfigure(line_buffering=True)


def _invoke(handler, load, body):
    """Calls the handler; returns the type and body of the answer's frame."""
    meta_end = 4 + int.from_bytes(body[:4], sys.byteorder)
    meta = json.loads(body[4:meta_end])
    try:
        event = json.loads(body[meta_end:] or b"null")
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


def warm_up(host_directory):
    """In the zygote, on Spore's own handler: see spore_warm."""
    load = {"function_name": "warm", "function_version": "0", "memory_limit_in_mb": "0"}
    meta = b'{"request_id":"warm","deadline_ms":0}'
    sys.path.insert(0, host_directory)
    handler = load_handler("spore_warm.handler")
    for _ in range(16):  # CPython specialises code after eight calls
        _invoke(handler, load, len(meta).to_bytes(4, sys.byteorder) + meta + b'{"a": [1, "b"]}')
    sys.path.remove(host_directory)
    del sys.modules["spore_warm"]


def serve():
    kind, _, body = _spore.receive() or (None, 0, b"")
    if kind != LOAD:
        os._exit(1)
    started = time.monotonic_ns()
    load = json.loads(body)
    try:
        _enter(load)
        handler = load_handler(load["handler"])
    except LoadError as error:
        _spore.send(LOAD_FAILED, 0, _describe(error.kind, error, error.stack))
        os._exit(1)
    _spore.send(LOADED, 0, b'{"load_us":%d}' % ((time.monotonic_ns() - started) // 1000))
    while frame := _spore.receive():
        kind, identifier, body = frame
        if kind != INVOKE:
            os._exit(1)
        kind, answer = _invoke(handler, load, body)
        sys.stdout.flush()
        if not _spore.send(kind, identifier, answer):
            os._exit(1)
