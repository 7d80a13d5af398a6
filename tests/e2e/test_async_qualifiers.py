"""Events for published versions and aliases: what a qualifier names is looked up at each attempt."""
import contextlib
import json
import sqlite3

import daemon
import pytest
import ttrpc
from test_async import accept, ended, event_of, functions, place, policy  # noqa: F401


def publish(spored, name, text):
    spored.call("Functions", "Update", {"name": name, "settings": {"environment": {"TEXT": text}}})
    return spored.call("Versions", "Publish", {"name": name})["version"]["number"]


def alias(spored, name, version, **fields):
    spored.call("Versions", "SetAlias", {"name": name, "alias": {"name": "live", "version": version, **fields}})


QUALIFIED = """
import os, time
def handler(event, context):
    if event.get("fail"):
        raise ValueError(context.invoked_function_arn)
    return [os.environ["TEXT"], context.function_version, context.invoked_function_arn.split(":", 6)[6]]
"""


def test_qualifiers(functions):  # noqa: F811
    f = "qualified"
    functions.deploy(f, {"app.py": QUALIFIED}, limits={"max_instances": 4})
    assert publish(functions, f, "one") == 1 and publish(functions, f, "two") == 2
    functions.call("Functions", "Update", {"name": f, "settings": {"environment": {"TEXT": "working copy"}}})
    alias(functions, f, 1)
    for qualifier, answer in (("", ["working copy", "$LATEST", f]), ("$LATEST", ["working copy", "$LATEST", f"{f}:$LATEST"]),
                              ("2", ["two", "2", f"{f}:2"]), ("live", ["one", "1", f"{f}:live"])):
        event = ended(functions, accept(functions, f, {}, qualifier=qualifier))
        assert json.loads(event["response"]) == answer
        assert event["qualifier"] == qualifier and event["executed_version"] == answer[1]
    # Two versions behind one name: each event is drawn for.
    alias(functions, f, 1, second_version=2, second_weight=0.5)
    drawn = [ended(functions, identity)["executed_version"]
             for identity in [accept(functions, f, {}, qualifier="live") for _ in range(40)]]
    assert set(drawn) == {"1", "2"}
    # The command, and what a destination is told.
    alias(functions, f, 2)
    policy(functions, f, retries=0, on_success="sink")
    identity = functions.cli("invoke", "--async", f"{f}:live", "--payload", "{}").out.strip()
    ended(functions, identity)
    shown = functions.cli("async", "show", identity).out
    assert f"{f}:live" in shown and "Version" in shown
    assert f"{f}:live" in functions.cli("async", "ls", "--function", f).out
    record = daemon.wait_until(lambda: [r for r in functions.result("sink", "tell")
                                        if r["requestContext"]["requestId"] == identity], what="its record comes")[0]
    assert record["requestContext"]["functionArn"].endswith(f":{f}:live")
    assert record["responseContext"]["executedVersion"] == "2"


def test_a_retry_follows_its_alias(functions):  # noqa: F811
    f = "moved"
    functions.deploy(f, {"app.py": QUALIFIED})
    publish(functions, f, "one"), publish(functions, f, "two")
    alias(functions, f, 1)
    policy(functions, f, retries=0)
    identity = accept(functions, f, {"fail": 1}, qualifier="live")
    event = ended(functions, identity, "DEAD")
    assert event["executed_version"] == "1" and event["error"]["message"].endswith(":moved:live")
    alias(functions, f, 2)
    functions.call("Async", "Retry", {"id": identity})
    daemon.wait_until(lambda: (lambda e: e["state"] == "DEAD" and e["executed_version"] == "2")(
        event_of(functions, identity)), what="it is tried with the other version")
    # What is gone is not tried at all, and says so.
    functions.call("Versions", "RemoveAlias", {"name": f, "alias": "live"})
    functions.call("Async", "Retry", {"id": identity})
    event = daemon.wait_until(lambda: (lambda e: e if e["condition"] == "FunctionRemoved" else None)(
        event_of(functions, identity)), what="it is given up")
    assert event["state"] == "DEAD" and event["attempts"] == 0 and "has no alias" in event["note"]
    assert json.loads(event["payload"]) == {"fail": 1}


@pytest.mark.parametrize("qualifier,code", [("9", "NOT_FOUND"), ("absent", "NOT_FOUND"),
                                            ("0", "NOT_FOUND"), ("not/one", "INVALID_ARGUMENT")])
def test_a_bad_qualifier_is_refused(functions, qualifier, code):  # noqa: F811
    before = functions.call("Async", "Stats")["accepted"]
    error = functions.error_of("Async", "Invoke", {"name": "work", "qualifier": qualifier})
    assert error.code == ttrpc.CODES[code] and qualifier.split("/")[0] in error.message
    assert functions.call("Async", "Stats")["accepted"] == before


def test_a_database_of_the_first_version_is_taken_over(place):  # noqa: F811
    policy(place, "work", backoff_ms=3600000)
    identity = accept(place, "work", {"fail": 1})
    daemon.wait_until(lambda: event_of(place, identity)["attempts"] == 1)
    place.stop()
    with contextlib.closing(sqlite3.connect(place.state / "async/events.db")) as database:
        for column in ("qualifier", "executed"):
            database.execute(f"ALTER TABLE events DROP COLUMN {column}")
        database.execute("PRAGMA user_version=1")
        database.commit()
    place.start()
    assert "damaged" not in place.log_text()
    event = event_of(place, identity)
    assert event["attempts"] == 1 and event["qualifier"] == "" == event["executed_version"]
    place.call("Async", "Retry", {"id": identity})
    daemon.wait_until(lambda: event_of(place, identity)["attempts"] == 2, what="it is tried again")
    assert event_of(place, identity)["executed_version"] == "$LATEST"
