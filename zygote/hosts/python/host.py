"""The Python host: the zygote of an image, and in its children the instance.

Run by the image's own interpreter as `python3 -I -B -X utf8 host.py MODULE,MODULE,... [warm-up=MODULE.FUNCTION]
[threads]`. Until serve_forks returns, this is the zygote: only modules that the image's operator listed
have run. It returns in copies. One may be told to import more, a library set of that list, and be a zygote
too. Any other is a child in a sandbox of its own, made ahead of its use, still trusted. When await_tenant
has returned it is confined for good, and about to run a tenant's code.
"""

import errno
import gc
import importlib
import os
import sys
import threading
import time

# Programs that a preloaded module or a tenant starts are none of ours.
os.environ.pop("LD_PRELOAD", None)

_HOST = "/run/spore/host/python"
sys.path.insert(0, _HOST)
import _spore  # noqa: E402
import spore_function  # noqa: E402
import spore_measure  # noqa: E402,F401
import spore_renew  # noqa: E402
import spore_script  # noqa: E402
import spore_session  # noqa: E402

sys.path.remove(_HOST)

_MODE_FUNCTION = 1
_MODE_SESSION = 4


def preload(modules):
    """Imports what the image lists; an image that cannot keep its promise says so and ends."""
    for name in modules:
        try:
            importlib.import_module(name)
        except BaseException as error:  # a module may well raise SystemExit
            _spore.report_unready(f"preload {name}: {why(error, name)}")
            sys.exit(1)


def why(error, name):
    """Of a module that cannot be imported; what it would write, nobody has a place for."""
    modules, step = [], error.__traceback__
    while step:
        modules.append(step.tb_frame.f_globals.get("__name__", "").partition(".")[0])
        step = step.tb_next
    text = f"{type(error).__name__}: {error}"
    if not isinstance(error, OSError) or (error.errno != errno.EROFS and modules[-1] != "tempfile"):
        return text
    others = [module for module in modules[1:] if module not in sys.stdlib_module_names]
    # The end may be cut off.
    writer = others[-1] if others else name
    return f"{writer} writes files when imported, but an image is read-only: take {name} out of preload ({text})"


def call_warm_up(options):
    """Calls the image's own hook: what it leaves in memory, every sandbox begins with."""
    for option in options:
        name, _, value = option.partition("=")
        if name != "warm-up":
            continue
        module, _, function = value.replace("/", ".").rpartition(".")
        try:
            getattr(importlib.import_module(module), function)()
        except BaseException as error:
            _spore.report_unready(f"warm-up {value}: {type(error).__name__}: {error}")
            sys.exit(1)


def refuse_python_threads():
    """A thread that the interpreter knows cannot come back in a child: it frees what belongs to
    all others when it is told of a fork, and they may be in the middle of Python code."""
    others = _spore.thread_states() - 1
    if others == 0:
        return
    main = threading.main_thread()
    names = [repr(thread.name) for thread in threading.enumerate()
             if thread is not main and thread.ident in sys._current_frames()]
    names += ["one without a name"] * (others - len(names))
    _spore.report_unready("children would be without the Python threads that a preloaded module "
                          f"has started: {', '.join(names)}")
    sys.exit(1)


def serve_as_zygote(started, threads):
    """None in a child in a sandbox; in a copy that is to be a zygote, the modules that it shall import."""
    spore_renew.prepare()
    # What exists now lives for ever: collections in children must not touch, and so copy, it.
    gc.collect()
    gc.freeze()
    refuse_python_threads()
    version = "%d.%d.%d" % sys.version_info[:3]
    try:
        return _spore.serve_forks(version, (time.monotonic_ns() - started) // 1000, threads)
    except RuntimeError as error:
        _spore.report_unready(str(error))
        sys.exit(1)


def main():
    gc.disable()
    started = time.monotonic_ns()
    modules, *options = sys.argv[1:]
    sys.argv = [""]
    preload([name for name in modules.split(",") if name])
    call_warm_up(options)
    spore_renew.install()
    spore_function.prepare()
    spore_function.warm_up(_HOST, times=10)
    more = serve_as_zygote(started, "threads" in options)
    while more is not None:
        # A copy that is to be the zygote of a library set.
        started = time.monotonic_ns()
        modules = [name for name in more.split(",") if name]
        spore_function.without_task_root(lambda: preload(modules))
        loaded = time.monotonic_ns()
        if modules:
            spore_function.warm_up(_HOST, times=1)
        # What the set saves each start: not what else happens here.
        more = serve_as_zygote(started + time.monotonic_ns() - loaded, "threads" in options)
    # Again, in the child: the pages that serving a request writes to are copied now, not then.
    if not _spore.tenant_waiting():
        spore_function.warm_up(_HOST, times=1)
    gc.enable()
    mode = _spore.await_tenant()
    if mode == _MODE_FUNCTION:
        spore_function.serve()
    elif mode == _MODE_SESSION:
        spore_session.serve()
    else:
        spore_script.run()


main()
