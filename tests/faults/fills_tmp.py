"""Writes into /tmp and /dev/shm until there is no room; then makes files until there are no inodes."""
import os


def fill(folder):
    written = 0
    try:
        with open(os.path.join(folder, "full"), "wb", buffering=0) as file:
            while written < 1 << 40:
                written += file.write(b"x" * (1 << 16))
    except OSError as error:
        return {"written": written, "error": error.strerror}
    return {"written": written}


def many(folder):
    made = 0
    try:
        while made < 10_000_000:
            os.close(os.open(os.path.join(folder, f"f{made}"), os.O_CREAT | os.O_WRONLY))
            made += 1
    except OSError as error:
        return {"made": made, "error": error.strerror}
    return {"made": made}


def run(event):
    answer = {folder: fill(folder) for folder in ("/tmp", "/dev/shm")}
    if event.get("inodes"):
        os.truncate("/tmp/full", 0)
        answer["inodes"] = many("/tmp")
    return answer
