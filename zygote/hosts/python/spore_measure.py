"""Measures what loading a function imports, for `spore advise`: each module's own time and memory.

Runs in the tenant's process, as all that it says is the tenant's word in the end.
"""

import builtins
import importlib._bootstrap as bootstrap
import os
import sys
import time

_MOST_MODULES = 200
_MOST_NAMED = 400
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _resident():
    with open("/proc/self/statm", "rb", buffering=0) as file:
        return int(file.read(128).split()[1]) * _PAGE


class _Import:
    """One that is going on: what it began with, and what those inside it have taken."""

    __slots__ = ("name", "parent", "started", "memory", "inner_ns", "inner_memory")

    def __init__(self, name, parent):
        self.name = name
        self.parent = parent
        self.inner_ns = self.inner_memory = 0
        self.memory = _resident()
        self.started = time.perf_counter_ns()


class Measure:
    """From its making on, every import; `report` is a handler that answers with what was found."""

    def __init__(self, root):
        self._root = root + "/"
        self._stack = []
        self._modules = []
        self._named = {}  # what the function's own code asked for and found there already
        self._load = bootstrap._find_and_load_unlocked
        self._import = builtins.__import__
        bootstrap._find_and_load_unlocked = self._find_and_load
        builtins.__import__ = self._import_name
        self._started = time.perf_counter_ns()

    def _find_and_load(self, name, import_):
        entry = _Import(name, self._stack[-1].name if self._stack else None)
        self._stack.append(entry)
        try:
            module = self._load(name, import_)
        finally:
            self._stack.pop()
        # What could not be found counts as its importer's own time.
        took = time.perf_counter_ns() - entry.started
        grew = max(0, _resident() - entry.memory)
        if self._stack:
            self._stack[-1].inner_ns += took
            self._stack[-1].inner_memory += grew
        self._modules.append((entry, took, grew))
        return module

    def _import_name(self, name, globals=None, locals=None, fromlist=(), level=0):
        if level == 0 and name in sys.modules and len(self._named) < _MOST_NAMED:
            if str((globals or {}).get("__file__", "")).startswith(self._root):
                self._named[name] = True
        return self._import(name, globals, locals, fromlist, level)

    def _is_own(self, name):
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if file is None:  # a package without a file of its own
            file = next(iter(getattr(module, "__path__", ())), "")
        return str(file).startswith(self._root)

    def report(self, event, context):
        load_ns = time.perf_counter_ns() - self._started
        bootstrap._find_and_load_unlocked = self._load
        builtins.__import__ = self._import
        imported = {entry.name for entry, *_ in self._modules}
        dearest = sorted(self._modules, key=lambda module: module[0].inner_ns - module[1])
        return {
            "load_us": load_ns // 1000,
            "modules": [{"name": entry.name, "self_us": (took - entry.inner_ns) // 1000,
                         "total_us": took // 1000, "total_bytes": grew,
                         "memory_bytes": max(0, grew - entry.inner_memory),
                         "own": self._is_own(entry.name),
                         "direct": entry.parent is None or self._is_own(entry.parent)}
                        for entry, took, grew in dearest[:_MOST_MODULES]],
            "preloaded": sorted(self._named.keys() - imported),
            "loaded": [name for name in (event or {}).get("watch", ()) if name in sys.modules],
        }
