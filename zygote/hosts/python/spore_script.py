"""Runs one script as `python3 script.py args...` would."""

import json
import os
import sys
import types

import _spore


def run():
    frame = _spore.receive()
    if frame is None:
        os._exit(125)
    # From here on the process belongs to the script: no way back to the daemon stays open.
    os.close(3)
    load = json.loads(frame[2])
    os.environ.update(load.get("environment", {}))
    os.chdir("/tmp")
    sys.argv = load["argv"]
    sys.path.insert(0, "/tmp")
    main = types.ModuleType("__main__")
    main.__file__ = sys.argv[0]
    main.__builtins__ = __builtins__
    sys.modules["__main__"] = main
    try:
        exec(compile(load["script"], sys.argv[0], "exec"), main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        # The script's frames only, as if nothing had been around it.
        trace = error.__traceback__ and error.__traceback__.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)
