"""Leaves what another invocation must not see, and reports what it found."""
import builtins
import os
import sys
import tempfile

FOLDERS = ("/tmp", "/dev/shm", "/var/tmp")


def run(event):
    found = {
        "builtin": getattr(builtins, "spore_residue", None),
        "module": getattr(sys.modules.get("json"), "spore_residue", None),
        "environment": os.environ.get("SPORE_RESIDUE"),
        "files": [os.path.join(folder, name) for folder in FOLDERS if os.path.isdir(folder)
                  for name in os.listdir(folder)],
        "cwd": os.getcwd(),
        "umask": os.umask(0o022),
    }
    word = event["word"]
    builtins.spore_residue = word
    sys.modules["json"].spore_residue = word
    os.environ["SPORE_RESIDUE"] = word
    for folder in FOLDERS:
        try:
            with open(os.path.join(folder, word), "w") as file:
                file.write(word)
        except OSError:
            pass
    tempfile.mkstemp()
    os.umask(0)
    return found
