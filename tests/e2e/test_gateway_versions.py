"""Versions, aliases, tags and provisioned concurrency through AWS's own clients."""
import json

import daemon
import gateway
import pytest

SPORED_CONFIG = gateway.SPORED_CONFIG


def code(number):
    return daemon.make_zip({"app.py": f"def handler(e, c):\n    return [{number}, c.function_version]\n"})


@pytest.fixture(scope="module")
def served(spored):
    with gateway.Gateway(spored).running() as server:
        yield server


@pytest.fixture(scope="module")
def client(served):
    return served.boto3()


@pytest.fixture
def f(client):
    """A function with versions 1 and 2, and a working copy that is another."""
    made = client.create_function(FunctionName="f", Runtime="python3.11", Handler="app.handler",
                                  Role="r", Description="first", Publish=True,
                                  Tags={"team": "a", "\u00e4": "b c"}, Code={"ZipFile": code(1)})
    assert made["Version"] == "1" and made["FunctionArn"].endswith(":f:1")
    second = client.update_function_code(FunctionName="f", ZipFile=code(2), Publish=True)
    assert second["Version"] == "2"
    client.update_function_code(FunctionName="f", ZipFile=code(3))
    yield "f"
    client.delete_function(FunctionName="f")


def result(client, **arguments):
    done = client.invoke(FunctionName="f", **arguments)
    payload = json.loads(done["Payload"].read())
    assert "FunctionError" not in done, payload
    return payload[0], done["ExecutedVersion"]


def test_versions(client, f, served):
    assert result(client) == (3, "$LATEST") and result(client, Qualifier="$LATEST") == (3, "$LATEST")
    assert result(client, Qualifier="1") == (1, "1") and result(client, Qualifier="2") == (2, "2")
    listed = client.list_versions_by_function(FunctionName=f)["Versions"]
    assert [v["Version"] for v in listed] == ["$LATEST", "1", "2"]
    pages = client.get_paginator("list_versions_by_function").paginate(
        FunctionName=f, PaginationConfig={"PageSize": 2})
    assert [v["Version"] for page in pages for v in page["Versions"]] == ["$LATEST", "1", "2"]
    one = client.get_function(FunctionName=f, Qualifier="1")
    assert one["Configuration"]["Version"] == "1" and one["Tags"] == {"team": "a", "\u00e4": "b c"}
    assert one["Configuration"]["Description"] == "first"
    # Publishing what has not changed makes nothing; what has, the next number.
    assert client.publish_version(FunctionName=f)["Version"] == "3"
    assert client.publish_version(FunctionName=f)["Version"] == "3"
    client.delete_function(FunctionName=f, Qualifier="3")
    for qualifier in ("3", "99", "absent"):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.invoke(FunctionName=f, Qualifier=qualifier)
    assert served.request("POST", "/fn/f:2/", None)[2] == b'[2, "2"]'


def test_changes_that_expect_a_revision(client, f):
    revision = client.get_function_configuration(FunctionName=f)["RevisionId"]
    sha = client.get_function_configuration(FunctionName=f)["CodeSha256"]
    client.update_function_configuration(FunctionName=f, Timeout=9, RevisionId=revision)
    for change in (lambda: client.update_function_configuration(FunctionName=f, Timeout=8, RevisionId=revision),
                   lambda: client.update_function_code(FunctionName=f, ZipFile=code(9), RevisionId=revision),
                   lambda: client.publish_version(FunctionName=f, RevisionId=revision),
                   lambda: client.publish_version(FunctionName=f, CodeSha256=sha[::-1][1:] + "=")):
        with pytest.raises((client.exceptions.PreconditionFailedException,
                            client.exceptions.InvalidParameterValueException)):
            change()
    assert result(client) == (3, "$LATEST")
    assert client.publish_version(FunctionName=f, CodeSha256=sha, Description="named")["Description"] == "named"


def test_aliases(client, f, served):
    made = client.create_alias(FunctionName=f, Name="live", FunctionVersion="1", Description="d")
    assert made["AliasArn"].endswith(":f:live") and made["FunctionVersion"] == "1"
    assert result(client, Qualifier="live") == (1, "1")
    assert json.loads(client.invoke(FunctionName=made["AliasArn"])["Payload"].read())[0] == 1
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.create_alias(FunctionName=f, Name="live", FunctionVersion="1")
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.delete_function(FunctionName=f, Qualifier="1")
    changed = served.aws("update-alias", "--function-name", f, "--name", "live", "--function-version", "2")
    assert changed["FunctionVersion"] == "2" and changed["Description"] == "d"
    assert result(client, Qualifier="live") == (2, "2")
    canary = client.update_alias(FunctionName=f, Name="live",
                                 RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}})
    assert canary["RoutingConfig"] == {"AdditionalVersionWeights": {"1": 0.5}}
    drawn = {result(client, Qualifier="live")[1] for _ in range(40)}
    assert drawn == {"1", "2"}
    assert "RoutingConfig" not in client.update_alias(
        FunctionName=f, Name="live", RoutingConfig={"AdditionalVersionWeights": {}})
    assert client.get_alias(FunctionName=f, Name="live")["FunctionVersion"] == "2"
    client.create_alias(FunctionName=f, Name="old", FunctionVersion="1")
    assert [a["Name"] for a in client.list_aliases(FunctionName=f)["Aliases"]] == ["live", "old"]
    assert [a["Name"] for a in client.list_aliases(FunctionName=f, FunctionVersion="1")["Aliases"]] == ["old"]
    pages = client.get_paginator("list_aliases").paginate(FunctionName=f, PaginationConfig={"PageSize": 1})
    assert [a["Name"] for page in pages for a in page["Aliases"]] == ["live", "old"]
    client.delete_alias(FunctionName=f, Name="old")
    for call in (lambda: client.get_alias(FunctionName=f, Name="old"),
                 lambda: client.update_alias(FunctionName=f, Name="old", FunctionVersion="1"),
                 lambda: client.create_alias(FunctionName=f, Name="x", FunctionVersion="77"),
                 lambda: client.create_alias(FunctionName="absent", Name="x", FunctionVersion="1")):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            call()
    for arguments in ({"FunctionVersion": "$LATEST"}, {"FunctionVersion": "0"}, {"FunctionVersion": "1", "Name": "1"}):
        with pytest.raises(client.exceptions.InvalidParameterValueException):
            client.create_alias(**{"FunctionName": f, "Name": "x", **arguments})


def test_tags(client, f):
    arn = client.get_function(FunctionName=f)["Configuration"]["FunctionArn"]
    client.tag_resource(Resource=arn, Tags={"team": "b", "more": "1"})
    assert client.list_tags(Resource=arn)["Tags"] == {"team": "b", "\u00e4": "b c", "more": "1"}
    client.untag_resource(Resource=arn, TagKeys=["\u00e4", "more", "absent"])
    assert client.list_tags(Resource=arn)["Tags"] == {"team": "b"}
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.tag_resource(Resource=arn, Tags={f"key{i}": "v" for i in range(60)})
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.list_tags(Resource=arn[:-1] + "absent")


def test_tags_that_cannot_be_leave_no_function(client):
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.create_function(FunctionName="tagged", Runtime="python3.11", Handler="app.handler", Role="r",
                               Tags={"k": "v" * 1000}, Code={"ZipFile": code(1)})
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="tagged")


def test_provisioned_concurrency(client, f):
    client.create_alias(FunctionName=f, Name="live", FunctionVersion="1")
    for qualifier in ("live", "2"):
        with pytest.raises(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
            client.get_provisioned_concurrency_config(FunctionName=f, Qualifier=qualifier)
        put = client.put_provisioned_concurrency_config(FunctionName=f, Qualifier=qualifier,
                                                        ProvisionedConcurrentExecutions=1)
        assert put["RequestedProvisionedConcurrentExecutions"] == 1
        daemon.wait_until(lambda: client.get_provisioned_concurrency_config(
            FunctionName=f, Qualifier=qualifier)["Status"] == "READY", what=f"{qualifier} is provisioned")
    listed = client.list_provisioned_concurrency_configs(FunctionName=f)["ProvisionedConcurrencyConfigs"]
    assert sorted(c["FunctionArn"].rsplit(":", 1)[1] for c in listed) == ["2", "live"]
    for qualifier in ("live", "2"):
        client.delete_provisioned_concurrency_config(FunctionName=f, Qualifier=qualifier)
    assert client.list_provisioned_concurrency_configs(FunctionName=f)["ProvisionedConcurrencyConfigs"] == []
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.put_provisioned_concurrency_config(FunctionName=f, Qualifier="$LATEST",
                                                  ProvisionedConcurrentExecutions=1)
