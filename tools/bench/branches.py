#!/usr/bin/python3
"""How long a branch of a session takes against what its interpreter has in memory.

    SPORE_BUILD=build tools/bench/branches.py [--sizes 0,10,50,200] [--samples 20] [--copies 1]

Starts a spored of its own; prints JSON, times in milliseconds. Root, from the source tree: it uses the client of the tests.
"""
import argparse
import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests/e2e"))
import daemon  # noqa: E402
import sandboxes  # noqa: E402

# Objects, as a program has them: each page of them is written to.
FILL = "size = {size} << 20\nkept = [bytes(1000) + str(i).encode() for i in range(size // 1056)]\nlen(kept)"


def spread(values):
    ordered = sorted(values)
    return {"least": round(ordered[0], 2), "p50": round(statistics.median(ordered), 2), "max": round(ordered[-1], 2)}


def measure(spored, size, samples, copies):
    wall, stopped, steps, first = [], [], {}, []
    with sandboxes.sandbox(spored, ttl_ms=600_000, limits={"memory_bytes": 1 << 30}) as box:
        box.code(FILL.format(size=size))
        copied = 0
        with spored.client() as client:
            for _ in range(samples):
                begin = time.monotonic()
                done = client.call("Sandboxes", "Branch", {"id": box.id, "copies": copies})
                wall.append((time.monotonic() - begin) * 1e3)
                stopped.append(done["stopped_us"] / 1e3)
                copied = done["copied_bytes"]
                for step in done["trace"]["steps"]:
                    steps.setdefault(step["name"], []).append(step["duration_us"] / 1e3)
                for made in done["sessions"]:
                    begin = time.monotonic()
                    client.call("Sandboxes", "RunCode", {"id": made["id"], "code": "len(kept)"})
                    first.append((time.monotonic() - begin) * 1e3)
                    client.call("Sandboxes", "Kill", {"id": made["id"]})
                time.sleep(0.05)  # the pool makes sandboxes again
    return {"branch": spread(wall), "source_stopped": spread(stopped), "first_code": spread(first),
            "copied_mb": round(copied / 1e6, 1),
            "steps": {name: spread(values) for name, values in steps.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sizes", default="0,10,50,200")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--copies", type=int, default=1)
    arguments = parser.parse_args()
    with daemon.Spored().running() as spored:
        report = {f"{size} MiB": measure(spored, int(size), arguments.samples, arguments.copies)
                  for size in arguments.sizes.split(",")}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
