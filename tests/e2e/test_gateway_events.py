"""Invocation type Event through AWS's own client: accepted, then carried out."""
import json

import daemon
import gateway
import pytest

SPORED_CONFIG = gateway.SPORED_CONFIG
CODE = """
import json
def handler(event, context):
    print("event", json.dumps(event)[:100], context.aws_request_id, context.client_context is not None)
    return len(event)
"""


@pytest.fixture(scope="module")
def client(spored):
    with gateway.Gateway(spored).running() as server:
        server.deploy("f", {"app.py": CODE}, Timeout=20)
        yield server.boto3()


def event(spored, identity):
    return daemon.wait_until(lambda: (lambda e: e if e["state"] == "DONE" else None)(
        spored.call("Async", "Get", {"id": identity})), what="it is carried out")


def test_an_event_is_accepted_and_carried_out(client, spored):
    for payload in ([1, 2], "x" * (2 << 20)):
        done = client.invoke(FunctionName="f", InvocationType="Event", Payload=json.dumps(payload).encode(),
                             ClientContext="eyJhIjogMX0=")
        assert done["StatusCode"] == 202 and done["Payload"].read() == b""
        found = event(spored, done["ResponseMetadata"]["RequestId"])
        assert found["function"] == "f" and json.loads(found["response"]) == len(payload)


def test_events_that_are_refused(client):
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName="absent", InvocationType="Event")
    for qualifier in ("5", "absent"):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.invoke(FunctionName="f", InvocationType="Event", Qualifier=qualifier)


def test_an_event_for_a_version_and_an_alias(client, spored):
    number = client.publish_version(FunctionName="f")["Version"]
    client.create_alias(FunctionName="f", Name="live", FunctionVersion=number)
    for qualifier in (number, "live"):
        done = client.invoke(FunctionName="f", InvocationType="Event", Qualifier=qualifier, Payload=b"[1, 2, 3]")
        assert done["StatusCode"] == 202
        found = event(spored, done["ResponseMetadata"]["RequestId"])
        assert found["executed_version"] == number and found["qualifier"] == qualifier
        assert json.loads(found["response"]) == 3
