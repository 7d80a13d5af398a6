"""AWS's own clients, as Debian has them and unchanged, against the gateway."""
import base64
import io
import json
import zipfile

import daemon
import gateway
import pytest

SPORED_CONFIG = gateway.SPORED_CONFIG
CODE = """
import json, os, sys, time
def handler(event, context):
    print("hello log")
    do = (event or {}).get("do") if isinstance(event, dict) else None
    if do == "raise":
        raise ValueError("on purpose")
    if do == "exit":
        os._exit(3)
    if do == "sleep":
        time.sleep(30)
    if do == "large":
        return "x" * (7 << 20)
    if do == "context":
        return {"client": context.client_context and context.client_context.custom,
                "id": context.aws_request_id, "env": os.environ.get("COLOUR")}
    return {"echo": event}
"""
NODE = "exports.handler = async (event) => ({node: event});\n"


def archive(files):
    return daemon.make_zip(files)


@pytest.fixture(scope="module")
def served(spored):
    with gateway.Gateway(spored).running() as server:
        yield server


@pytest.fixture(scope="module")
def client(served):
    return served.boto3()


@pytest.fixture(scope="module")
def echo(client):
    client.create_function(FunctionName="echo", Runtime="python3.11", Handler="app.handler",
                           Role="arn:aws:iam::000000000000:role/any", Timeout=60,
                           Environment={"Variables": {"COLOUR": "blue"}},
                           Code={"ZipFile": archive({"app.py": CODE})})
    return "echo"


def test_aws_cli_from_create_to_delete(served, tmp_path):
    (tmp_path / "code.zip").write_bytes(archive({"app.py": CODE}))
    made = served.aws("create-function", "--function-name", "cli", "--runtime", "python3.12",
                      "--role", "arn:aws:iam::123456789012:role/r", "--handler", "app.handler",
                      "--memory-size", 256, "--zip-file", f"fileb://{tmp_path}/code.zip")
    assert made["FunctionName"] == "cli" and made["State"] == "Active"
    assert made["MemorySize"] == 256 and made["Timeout"] == 3
    served.aws("wait", "function-active-v2", "--function-name", "cli")
    out = tmp_path / "out.json"
    done = served.aws("invoke", "--function-name", made["FunctionArn"], "--payload", '{"a": [1, 2]}',
                      "--cli-binary-format", "raw-in-base64-out", "--log-type", "Tail", out)
    assert done["StatusCode"] == 200 and done["ExecutedVersion"] == "$LATEST"
    assert json.loads(out.read_text()) == {"echo": {"a": [1, 2]}}
    log = base64.b64decode(done["LogResult"]).decode()
    assert "START RequestId: " in log and "hello log\n" in log and "\nREPORT RequestId: " in log
    changed = served.aws("update-function-configuration", "--function-name", "cli", "--timeout", 7,
                         "--environment", "Variables={A=b}")
    assert changed["Timeout"] == 7 and changed["Environment"] == {"Variables": {"A": "b"}}
    served.aws("wait", "function-updated", "--function-name", "cli")
    assert "cli" in [f["FunctionName"] for f in served.aws("list-functions")["Functions"]]
    served.aws("delete-function", "--function-name", "cli")
    error = served.aws("get-function", "--function-name", "cli", expect=254)
    assert "ResourceNotFoundException" in error and "Function not found" in error


def test_invoke_by_every_name(client, echo):
    arn = client.get_function(FunctionName=echo)["Configuration"]["FunctionArn"]
    for name in (echo, arn, arn + ":$LATEST", "000000000000:function:echo", "function:echo"):
        done = client.invoke(FunctionName=name, Payload=b'"x"')
        assert json.loads(done["Payload"].read()) == {"echo": "x"}, name
    done = client.invoke(FunctionName=echo, Qualifier="$LATEST")
    assert json.loads(done["Payload"].read()) == {"echo": None}


def test_context_and_environment(client, echo):
    context = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    done = client.invoke(FunctionName=echo, ClientContext=context, Payload=b'{"do": "context"}')
    answer = json.loads(done["Payload"].read())
    assert answer["client"] == {"k": "v"} and answer["env"] == "blue"
    assert answer["id"] == done["ResponseMetadata"]["RequestId"]


def test_failures_of_a_function(client, echo):
    def fails(event, name=echo):
        done = client.invoke(FunctionName=name, Payload=json.dumps(event).encode())
        assert done["StatusCode"] == 200 and done["FunctionError"] == "Unhandled"
        return json.loads(done["Payload"].read())

    raised = fails({"do": "raise"})
    assert raised["errorMessage"] == "on purpose" and raised["errorType"] == "ValueError"
    assert raised["requestId"] and "in handler" in raised["stackTrace"][0]
    left = fails({"do": "exit"})
    assert left["errorType"] == "Runtime.ExitError" and left["errorMessage"].startswith("RequestId: ")
    client.create_function(FunctionName="late", Runtime="python3.11", Handler="app.handler", Role="r", Timeout=2,
                           Code={"ZipFile": archive({"app.py": CODE})})
    late = fails({"do": "sleep"}, "late")
    client.delete_function(FunctionName="late")
    assert late["errorType"] == "Sandbox.Timedout"
    assert "Error: Task timed out after 2.00 seconds" in late["errorMessage"]
    assert fails({"do": "large"})["errorType"] == "Function.ResponseSizeTooLarge"


def test_dry_run_and_unknown_function(client, echo):
    assert client.invoke(FunctionName=echo, InvocationType="DryRun")["StatusCode"] == 204
    for kind in ("RequestResponse", "DryRun"):
        with pytest.raises(client.exceptions.ResourceNotFoundException) as error:
            client.invoke(FunctionName="absent", InvocationType=kind)
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_payload_limits(client, echo, served):
    big = json.dumps("z" * (5 << 20)).encode()
    done = client.invoke(FunctionName=echo, Payload=big)
    assert json.loads(done["Payload"].read())["echo"] == "z" * (5 << 20)
    with pytest.raises(client.exceptions.RequestTooLargeException):
        client.invoke(FunctionName=echo, Payload=json.dumps("z" * (6 << 20)).encode())
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke(FunctionName=echo, Payload=b"{not json")
    status, headers, body = served.invoke("echo", 1, {"X-Amz-Client-Context": "%%%"})
    assert status == 400 and headers["x-amzn-ErrorType"] == "InvalidRequestContentException"
    status, headers, body = served.invoke("echo", 1, {"X-Amz-Invocation-Type": "Nonsense"})
    assert (status, body["Type"]) == (400, "User") and "Nonsense" in body["Message"]


def test_create_twice_and_wrong_settings(client, echo):
    def create(**changed):
        fields = {"FunctionName": "wrong", "Runtime": "python3.11", "Handler": "app.handler",
                  "Role": "r", "Code": {"ZipFile": archive({"app.py": CODE})}, **changed}
        return client.create_function(**fields)

    with pytest.raises(client.exceptions.ResourceConflictException):
        create(FunctionName=echo)
    for changed, part in [
            ({"Runtime": "ruby3.2"}, "ruby3.2"), ({"Handler": "nodot"}, "nodot"),
            ({"Timeout": 100000}, "Timeout"), ({"MemorySize": 70000}, "MemorySize"),
            ({"Code": {"ZipFile": b"PK\x03\x04 no zip at all"}}, ""),
            ({"Code": {"ZipFile": b"plain text"}}, "unzip"),
            ({"Code": {"S3Bucket": "bucket", "S3Key": "key"}}, "S3Bucket"),
            ({"Layers": ["arn:aws:lambda:us-east-1:1:layer:x:1"]}, "Layers"),
            ({"VpcConfig": {"SubnetIds": ["subnet-1"]}}, "VpcConfig"),
            ({"Architectures": ["arm64"]}, "arm64"),
            ({"Environment": {"Variables": {"1=2": "x"}}}, "1=2")]:
        with pytest.raises(client.exceptions.InvalidParameterValueException) as error:
            create(**changed)
        assert part in str(error.value), error.value
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="wrong")


def test_update_code_and_configuration(client, spored):
    client.create_function(FunctionName="moving", Runtime="python3.11", Handler="app.handler",
                           Role="r", Environment={"Variables": {"A": "1"}},
                           Code={"ZipFile": archive({"app.py": "def handler(e, c): return 1\n"})})
    client.get_waiter("function_active_v2").wait(FunctionName="moving")
    before = client.get_function_configuration(FunctionName="moving")
    after = client.update_function_code(
        FunctionName="moving", ZipFile=archive({"app.py": "def handler(e, c): return 2\n"}))
    client.get_waiter("function_updated_v2").wait(FunctionName="moving")
    assert after["CodeSha256"] != before["CodeSha256"] and after["RevisionId"] != before["RevisionId"]
    assert after["Environment"] == {"Variables": {"A": "1"}}
    assert json.loads(client.invoke(FunctionName="moving")["Payload"].read()) == 2
    code = archive({"index.js": NODE})
    client.update_function_code(FunctionName="moving", ZipFile=code, DryRun=True)
    assert json.loads(client.invoke(FunctionName="moving")["Payload"].read()) == 2
    client.update_function_code(FunctionName="moving", ZipFile=code)
    client.update_function_configuration(FunctionName="moving", Runtime="nodejs18.x",
                                         Handler="index.handler",
                                         Environment={"Variables": {}})
    assert json.loads(client.invoke(FunctionName="moving", Payload=b"5")["Payload"].read()) == {"node": 5}
    assert spored.call("Functions", "Get", {"name": "moving"})["settings"]["environment"] == {}
    client.delete_function(FunctionName="moving")


def test_listing_in_pages(client, served):
    names = [f"page{i}" for i in range(5)]
    for name in names:
        client.create_function(FunctionName=name, Runtime="python", Handler="app.handler", Role="r",
                               Code={"ZipFile": archive({"app.py": CODE})})
    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    assert len(pages) > 2 and all(len(page["Functions"]) <= 2 for page in pages)
    found = [f["FunctionName"] for page in pages for f in page["Functions"]]
    assert found == sorted(set(found)) and set(names) <= set(found)
    for path in ("/2015-03-31/functions", "/2015-03-31/functions/"):
        assert served.request("GET", path)[0] == 200
    assert served.request("GET", "/2015-03-31/functions?MaxItems=0")[0] == 400
    assert served.request("GET", "/2015-03-31/functions?Marker=%21")[0] == 400
    for name in names:
        client.delete_function(FunctionName=name)


def test_concurrency(client, echo):
    def reserved():
        return client.get_function_concurrency(FunctionName=echo).get("ReservedConcurrentExecutions")

    assert reserved() is None
    client.put_function_concurrency(FunctionName=echo, ReservedConcurrentExecutions=7)
    assert reserved() == 7
    assert client.get_function(FunctionName=echo)["Concurrency"] == {"ReservedConcurrentExecutions": 7}
    client.put_function_concurrency(FunctionName=echo, ReservedConcurrentExecutions=0)
    with pytest.raises(client.exceptions.TooManyRequestsException) as error:
        client.invoke(FunctionName=echo)
    assert error.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    client.delete_function_concurrency(FunctionName=echo)
    assert reserved() is None and client.invoke(FunctionName=echo)["StatusCode"] == 200
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.put_function_concurrency(FunctionName=echo, ReservedConcurrentExecutions=20000)


def test_a_custom_runtime(client):
    """A bootstrap in shell and curl, as for Lambda's provided.al2023."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        file.writestr(entry, (daemon.ROOT / "examples/provided/bootstrap").read_bytes())
    made = client.create_function(FunctionName="custom", Runtime="provided.al2023", Handler="any",
                                  Role="r", Timeout=20, Code={"ZipFile": buffer.getvalue()})
    assert made["Runtime"] == "provided"
    done = client.invoke(FunctionName="custom", Payload=b'{"name": "ada"}')
    assert "FunctionError" not in done, done["Payload"].read()
    assert b"ada" in done["Payload"].read()
    client.delete_function(FunctionName="custom")


def test_a_zip_that_python_makes(client):
    """Entries without permissions, as zipfile's writestr makes them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("app.py", CODE)
    client.create_function(FunctionName="plain", Runtime="python3.11", Handler="app.handler",
                           Role="r", Code={"ZipFile": buffer.getvalue()})
    assert json.loads(client.invoke(FunctionName="plain", Payload=b"1")["Payload"].read()) == {"echo": 1}
    client.delete_function(FunctionName="plain")
