"""The Python client of Spore: functions, scripts and sandboxes on this host.

    from spore import Client, Sandbox

    client = Client()
    client.invoke("hello", {"name": "ada"})

    with Sandbox.create(image="python-numpy") as box:
        box.run_code("import numpy; x = numpy.arange(4)")
        box.run_code("int(x.sum())").data                  # 6
        box.exec("ls -l /tmp").text

AsyncClient and AsyncSandbox are the same for asyncio. What every call of the protocol takes and
returns is in spore.messages.
"""
from . import messages
from ._async.client import AsyncClient
from ._async.sandbox import AsyncProcess, AsyncSandbox
from ._sync.client import Client
from ._sync.sandbox import Process, Sandbox
from .errors import (AlreadyExists, CallError, CodeFailed, ConnectionFailed, ExecFailed,
                     FailedPrecondition, FunctionError, InvalidArgument, NotFound, Overloaded,
                     PermissionDenied, SporeError)
from .results import CodeResult, ExecResult, InvokeResult, RunResult

__all__ = [
    "AlreadyExists", "AsyncClient", "AsyncProcess", "AsyncSandbox", "CallError", "Client", "CodeFailed",
    "CodeResult", "ConnectionFailed", "ExecFailed", "ExecResult", "FailedPrecondition",
    "FunctionError", "InvalidArgument", "InvokeResult", "NotFound", "Overloaded", "PermissionDenied",
    "Process", "RunResult", "Sandbox", "SporeError", "messages",
]
