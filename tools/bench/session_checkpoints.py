#!/usr/bin/python3
"""How long a session takes to the disk and back, and a branch of a whole one, against what it has in memory.

    SPORE_BUILD=build tools/bench/session_checkpoints.py [--sizes 0,50,200] [--samples 10] [--image python]

Starts a spored of its own; prints JSON, times in milliseconds. Root, from the source tree: it uses the client of the tests.
"""
import argparse
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests/e2e"))
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import daemon  # noqa: E402
import sandboxes  # noqa: E402
from branches import FILL, spread  # noqa: E402

FILL_NODE = "const kept = []; for (let i = 0; i < {size} * 1024; ++i) kept.push(Buffer.alloc(1024, i)); kept.length"
SERVICE = "SessionCheckpoints"


def timed(into, call):
    begin = time.monotonic()
    done = call()
    into.append((time.monotonic() - begin) * 1e3)
    return done


def measure(spored, image, size, samples):
    kept, stopped, restored, first, branched, bytes_on_disk = [], [], [], [], [], 0
    with sandboxes.sandbox(spored, image=image, ttl_ms=600_000, limits={"memory_bytes": 1 << 30}) as box:
        box.code((FILL_NODE if image.startswith("node") else FILL).format(size=size))
        box.detach("sleep", "600")  # so that a branch is one of all of it
        with spored.client(120) as client:
            for _ in range(samples):
                done = timed(kept, lambda: client.call(SERVICE, "Create", {"id": box.id, "leave_running": True}))
                stopped.append(done["stopped_us"] / 1e3)
                bytes_on_disk = done["checkpoint"]["bytes"]
                name = done["checkpoint"]["name"]
                made = timed(restored, lambda: client.call(SERVICE, "Restore", {"name": name}))
                timed(first, lambda: client.call("Sandboxes", "RunCode", {"id": made["id"], "code": "1"}))
                client.call("Sandboxes", "Kill", {"id": made["id"]})
                client.call(SERVICE, "Remove", {"name": name})
                done = timed(branched, lambda: client.call("Sandboxes", "Branch", {"id": box.id}))
                client.call("Sandboxes", "Kill", {"id": done["sessions"][0]["id"]})
                time.sleep(0.05)  # the pool makes sandboxes again
    return {"checkpoint": spread(kept), "stopped": spread(stopped), "restore": spread(restored),
            "first_code": spread(first), "branch_of_all": spread(branched), "on_disk_mb": round(bytes_on_disk / 1e6, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sizes", default="0,50,200")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--image", default="python")
    arguments = parser.parse_args()
    with daemon.Spored().running() as spored:
        report = {f"{size} MiB": measure(spored, arguments.image, int(size), arguments.samples)
                  for size in arguments.sizes.split(",")}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
