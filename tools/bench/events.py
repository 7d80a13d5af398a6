#!/usr/bin/python3
"""How many events a second spored accepts durably and carries out, and how much later than a call's their handler runs.

    SPORE_BUILD=build tools/bench/events.py [--count 20000] [--samples 300]

Starts a spored of its own on the file system of $TMPDIR, which is synced for each commit; prints JSON. Root, from the source tree: it
uses the client of the tests.
"""
import argparse
import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests/e2e"))
import daemon  # noqa: E402

CODE = "import time\ndef handler(event, context):\n    now = time.time()\n" \
       "    time.sleep((event or {}).get('sleep', 0))\n    return now\n"


def micros(values):
    ordered = sorted(values)
    return {"p50_us": round(statistics.median(ordered) * 1e6),
            "p99_us": round(ordered[len(ordered) * 99 // 100] * 1e6)}


def accept_many(spored, name, count, in_flight):
    """Seconds in which so many were accepted, this many of them being asked for at any time."""
    values = {"name": name, "payload": b"{}"}
    with spored.client() as client:
        begin, sent = time.monotonic(), 0
        for received in range(count):
            while sent < count and sent < received + in_flight:
                client.send("Async", "Invoke", values)
                sent += 1
            client.answer("AsyncInvokeResponse", client.receive()[2])
        return time.monotonic() - begin


def accepting(spored, count):
    """Nothing is carried out meanwhile: the only instance is busy."""
    spored.deploy("blocked", {"app.py": CODE}, limits={"max_instances": 1, "timeout_ms": 600000})
    rates = {}
    with spored.client() as client:
        client.send("Invocations", "Invoke", {"name": "blocked", "payload": b'{"sleep": 500}'})
        time.sleep(0.5)
        for in_flight in (1, 16, 128):
            number = count if in_flight > 1 else count // 20
            rates[f"{in_flight} at once"] = round(number / accept_many(spored, "blocked", number, in_flight))
    spored.remove_function("blocked")
    daemon.wait_until(lambda: spored.call("Async", "Stats")["waiting"] == 0, 600)
    spored.call("Async", "Purge", {"states": ["DEAD"]})
    return rates


def carrying_out(spored, count):
    begin = time.monotonic()
    accept_many(spored, "work", count, 128)
    daemon.wait_until(lambda: (lambda s: s["waiting"] + s["running"] == 0)(spored.call("Async", "Stats")), 600)
    return round(count / (time.monotonic() - begin))


def latencies(spored, samples):
    calls, events, answers = [], [], []
    for _ in range(samples):
        begin = time.time()
        calls.append(spored.result("work") - begin)
        begin = time.time()
        identity = spored.call("Async", "Invoke", {"name": "work", "payload": b"{}"})["id"]
        answers.append(time.time() - begin)
        done = daemon.wait_until(lambda: (lambda e: e if e["state"] == "DONE" else None)(
            spored.call("Async", "Get", {"id": identity})))
        events.append(json.loads(done["response"]) - begin)
    return {"call: to the handler": micros(calls), "event: to its answer, accepted": micros(answers),
            "event: to the handler": micros(events)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--samples", type=int, default=300)
    arguments = parser.parse_args()
    with daemon.Spored({"async": {"max-events": 1000000}}).running() as spored:
        spored.deploy("work", {"app.py": CODE})
        spored.result("work")
        report = {"latency": latencies(spored, arguments.samples),
                  "accepted a second": accepting(spored, arguments.count),
                  "accepted and carried out a second": carrying_out(spored, arguments.count // 2)}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
