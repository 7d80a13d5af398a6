"""Opens files until refused."""
import os


def run(event):
    opened = 0
    try:
        while opened < 10_000_000:
            os.open("/dev/null", os.O_RDONLY)
            opened += 1
    except OSError as error:
        return {"opened": opened, "error": error.strerror}
