"""Starts threads until the kernel refuses."""
import threading


def run(event):
    stop, started = threading.Event(), 0
    try:
        while started < 10000:
            threading.Thread(target=stop.wait, daemon=True).start()
            started += 1
    except RuntimeError as error:
        return {"started": started, "error": str(error)}
    finally:
        stop.set()
    return {"started": started}
