"""Runs one script as `python3 script.py args...` would."""

import atexit
import json
import os
import sys
import threading
import types

import _spore


def _exit_code(status):
    """The exit code of SystemExit's argument, its message printed as the interpreter would."""
    if status is None:
        return 0
    if isinstance(status, int):
        return status & 0xFF
    print(status, file=sys.stderr)
    return 1


def _end(main, code):
    """What others see of an interpreter's end: threads joined, exit functions run, the script's
    objects finalized, streams flushed. Not the taking apart of everything else, which would touch,
    and so copy, every page that is shared with the zygote: 20 ms.
    """
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        main.__dict__.clear()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = code or 120  # as the interpreter does when it cannot flush
    os._exit(code)


def _place(name, text):
    """The script's name in the sandbox. It is a file there, which multiprocessing's new interpreters
    run again, and from which tracebacks quote; without room for it the script has to do without.
    """
    if name == "-":
        return "<stdin>"
    file = "/tmp/" + os.path.basename(name)
    try:
        with open(file, "w", encoding="utf-8", newline="") as out:
            out.write(text)
    except (OSError, ValueError):
        pass
    return file


def run():
    frame = _spore.receive()
    if frame is None:
        os._exit(125)
    # From here on the process belongs to the script: no way back to the daemon stays open.
    os.close(3)
    load = json.loads(frame[2])
    os.environ.update(load.get("environment", {}))
    os.chdir("/tmp")
    file = _place(load["argv"][0], load["script"])
    sys.argv = load["argv"]
    # The zygote has prepared for a function, as is the usual case.
    sys.path[0] = "/tmp"
    sys.stdout.reconfigure(line_buffering=False)
    main = types.ModuleType("__main__")
    if sys.argv[0] != "-":
        sys.argv[0] = main.__file__ = file
    main.__builtins__ = __builtins__
    sys.modules["__main__"] = main
    code = 0
    try:
        exec(compile(load["script"], file, "exec"), main.__dict__)
    except SystemExit as error:
        code = _exit_code(error.code)
    except BaseException as error:
        # The script's frames only, as if nothing had been around it.
        trace = error.__traceback__ and error.__traceback__.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    _end(main, code)
