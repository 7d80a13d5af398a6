"""Published versions, aliases, tags, concurrency: what does not change, what moves, what is refused."""
import json
import os
import re

import daemon
import images_of_own
import pytest
import ttrpc

SPORED_CONFIG = {"max-queue-ms": 300, "limits-per-client": {"max-functions": 5, "max-reserved": 2}}

APP = """
import os, time
TEXT = {text!r}
def handler(event, context):
    if event and event.get('sleep'):
        time.sleep(event['sleep'])
    return {{'text': TEXT, 'version': context.function_version, 'arn': context.invoked_function_arn,
            'env': os.environ['AWS_LAMBDA_FUNCTION_VERSION'], 'mark': os.environ.get('MARK', '')}}
"""


def code(text):
    return {"app.py": APP.format(text=text)}


def update(spored, name, text, **settings):
    archive = ttrpc.sealed_memfd(daemon.make_zip(code(text)))
    try:
        return spored.call("Functions", "Update", {
            "name": name, "archive_attached": True, "keep_environment": True, "settings": settings}, [archive])
    finally:
        os.close(archive)


def publish(spored, name, **fields):
    return spored.call("Versions", "Publish", {"name": name, **fields})["version"]["number"]


def alias(spored, name, which, version, **fields):
    return spored.call("Versions", "SetAlias", {"name": name, "alias": {
        "name": which, "version": version, **fields}})


def versions(spored, name):
    return [v["number"] for v in spored.call("Versions", "List", {"name": name})["versions"]]


@pytest.fixture
def f(spored, request):
    """A function with two published versions, "one" and "two", and "three" as its working copy."""
    name = "v-" + request.node.name[5:40].replace("_", "-").replace("[", "-").rstrip("]")
    name = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    spored.deploy(name, code("one"))
    assert publish(spored, name) == 1
    update(spored, name, "two")
    assert publish(spored, name) == 2
    update(spored, name, "three")
    yield name
    spored.cli("function", "rm", name)
    daemon.wait_until(lambda: not spored.instances(function=name), what="its instances are gone")


def test_versions_do_not_change_and_live_beside_the_working_copy(spored, f):
    for qualifier, text, version in (("", "three", "$LATEST"), ("$LATEST", "three", "$LATEST"),
                                     ("1", "one", "1"), ("2", "two", "2")):
        response = spored.invoke(f, {}, qualifier=qualifier)
        result = response["result"]
        assert result["text"] == text and response["executed_version"] == version
        assert result["version"] == version == result["env"]
        assert result["arn"].endswith(f":function:{f}" + (f":{qualifier}" if qualifier else "")), result
    # Each has an instance of its own, and finds it again.
    kinds = {spored.invoke(f, {}, qualifier=q)["start_kind"] for q in ("", "1", "2")}
    assert kinds == {"START_KIND_WARM"}
    assert {i["qualifier"] for i in spored.instances(function=f)} == {"$LATEST", "1", "2"}
    update(spored, f, "four")
    assert [spored.result(f, {}, qualifier=q)["text"] for q in ("", "1", "2")] == ["four", "one", "two"]
    daemon.wait_until(lambda: len(spored.instances(function=f)) == 3, what="the old working copy's has ended")


def test_settings_are_frozen_with_the_code(spored, f):
    spored.call("Functions", "Update", {"name": f, "settings": {
        "limits": {"memory_bytes": 96 << 20}, "environment": {"MARK": "third"}, "description": "words"}})
    assert publish(spored, f) == 3
    spored.call("Functions", "Update", {"name": f, "settings": {"environment": {"MARK": "later"}}})
    assert spored.result(f, {}, qualifier="3")["mark"] == "third"
    shown = spored.call("Functions", "Get", {"name": f, "qualifier": "3"})
    assert shown["published_version"] == 3 and shown["settings"]["limits"]["memory_bytes"] == 96 << 20
    assert shown["settings"]["description"] == "words" and shown["settings"]["environment"] == {"MARK": "third"}
    assert spored.call("Functions", "Get", {"name": f, "qualifier": "1"})["settings"]["limits"]["memory_bytes"] == 128 << 20
    latest = spored.call("Functions", "Get", {"name": f})
    assert latest["published_version"] == 0 and latest["settings"]["environment"] == {"MARK": "later"}
    assert latest["settings"]["description"] == "words"


def test_publishing_what_is_unchanged_makes_nothing(spored, f):
    assert publish(spored, f) == 3
    again = spored.call("Versions", "Publish", {"name": f, "description": "again"})
    assert again["unchanged"] and again["version"]["number"] == 3 and again["version"]["description"] == ""
    update(spored, f, "three", description="only words")  # the same code and settings
    assert publish(spored, f) == 3
    digest = spored.call("Functions", "Get", {"name": f})["code_digest"]
    error = spored.error_of("Versions", "Publish", {"name": f, "code_digest": "sha256:0"})
    assert error.code == ttrpc.CODES["FAILED_PRECONDITION"] and digest in error.message


def test_aliases_and_rollback(spored, f):
    assert alias(spored, f, "prod", 1)["version"] == 1
    assert spored.result(f, {}, qualifier="prod")["arn"].endswith(f":{f}:prod")
    assert spored.invoke(f, {}, qualifier="prod")["executed_version"] == "1"
    alias(spored, f, "prod", 2)
    assert spored.result(f, {}, qualifier="prod")["text"] == "two"
    alias(spored, f, "prod", 1)
    assert spored.result(f, {}, qualifier="prod")["text"] == "one"
    listed = spored.call("Versions", "ListAliases", {"name": f})["aliases"]
    assert [(a["name"], a["version"]) for a in listed] == [("prod", 1)]
    assert spored.call("Versions", "ListAliases", {"name": f, "version": 2})["aliases"] == []
    error = spored.error_of("Versions", "Remove", {"name": f, "number": 1})
    assert error.code == ttrpc.CODES["FAILED_PRECONDITION"] and "prod" in error.message
    spored.call("Versions", "RemoveAlias", {"name": f, "alias": "prod"})
    assert spored.error_of("Invocations", "Invoke", {"name": f, "qualifier": "prod"}).code == ttrpc.CODES["NOT_FOUND"]


def test_a_canary_gets_its_share(spored, f):
    alias(spored, f, "prod", 1, second_version=2, second_weight=0.3)
    count = 200
    with spored.client() as client:
        seen = [client.call("Invocations", "Invoke", {"name": f, "payload": b"{}", "qualifier": "prod"})[
            "executed_version"] for _ in range(count)]
    # 60 expected; beyond five standard deviations once in millions of runs
    assert 28 <= seen.count("2") <= 92 and seen.count("1") == count - seen.count("2")
    for weight, only in ((0, "1"), (1, "2")):
        alias(spored, f, "prod", 1, second_version=2, second_weight=weight)
        assert {spored.invoke(f, {}, qualifier="prod")["executed_version"] for _ in range(5)} == {only}


@pytest.mark.parametrize("qualifier, code, words", [
    ("7", "NOT_FOUND", "no published version 7"), ("0", "NOT_FOUND", "no published version 0"),
    ("9" * 40, "NOT_FOUND", "no published version 999"), ("prod", "NOT_FOUND", 'no alias "prod"'),
    ("a b", "INVALID_ARGUMENT", "not digits alone"), ("$OLDEST", "INVALID_ARGUMENT", "not digits alone"),
    ("x" * 129, "INVALID_ARGUMENT", "1 to 128"), ("../../etc", "INVALID_ARGUMENT", "alias"),
    ("a\x1b[31m", "INVALID_ARGUMENT", "\\x1b"),
])
def test_bad_qualifiers(spored, bad, qualifier, code, words):
    for service, method in (("Invocations", "Invoke"), ("Functions", "Get")):
        error = spored.error_of(service, method, {"name": bad, "qualifier": qualifier})
        assert error.code == ttrpc.CODES[code] and words in error.message, error


@pytest.fixture(scope="module")
def bad(spored):
    """A function with version 1, for requests that are refused."""
    spored.deploy("bad", code("bad"))
    publish(spored, "bad")
    return "bad"


@pytest.mark.parametrize("method, values, code, words", [
    ("Publish", {"description": "x" * 257}, "INVALID_ARGUMENT", "description: 257 characters"),
    ("Publish", {"revision_id": "old"}, "FAILED_PRECONDITION", "revision_id"),
    ("Remove", {"number": 4}, "NOT_FOUND", "no published version 4"),
    ("SetAlias", {"alias": {"name": "12", "version": 1}}, "INVALID_ARGUMENT", "not digits alone"),
    ("SetAlias", {"alias": {"name": "a", "version": 2}}, "NOT_FOUND", "no published version 2"),
    ("SetAlias", {"alias": {"name": "a", "version": 1, "second_version": 1, "second_weight": 0.5}},
     "INVALID_ARGUMENT", "expected another"),
    ("SetAlias", {"alias": {"name": "a", "version": 1, "description": "x" * 257}}, "INVALID_ARGUMENT", "257"),
    ("SetAlias", {"alias": {"name": "a"}, "update": True}, "NOT_FOUND", 'no alias "a"'),
    ("RemoveAlias", {"alias": "a"}, "NOT_FOUND", 'no alias "a"'),
    ("Tag", {"set": {"": "v"}}, "INVALID_ARGUMENT", "expected 1 to 128"),
    ("Tag", {"set": {"k" * 129: "v"}}, "INVALID_ARGUMENT", "129 characters"),
    ("Tag", {"set": {"k": "v" * 257}}, "INVALID_ARGUMENT", "257 characters"),
    ("Tag", {"set": {f"k{i}": "" for i in range(51)}}, "INVALID_ARGUMENT", "at most 50"),
    ("SetConcurrency", {"concurrency": 10001}, "INVALID_ARGUMENT", "expected 0 to 10000"),
    ("Provision", {"qualifier": "", "instances": 1}, "INVALID_ARGUMENT", "--min-instances"),
    ("Provision", {"qualifier": "1", "instances": 101}, "INVALID_ARGUMENT", "of the 100 that it may"),
])
def test_bad_requests_change_nothing(spored, bad, method, values, code, words):
    before = spored.call("Functions", "Get", {"name": bad})
    error = spored.error_of("Versions", method, {"name": bad, **values})
    assert error.code == ttrpc.CODES[code] and words in error.message, error
    assert spored.call("Functions", "Get", {"name": bad}) == before
    error = spored.error_of("Versions", method, {**values, "name": "nobody"})
    assert error.code == ttrpc.CODES["NOT_FOUND"]


def test_tags_and_revision(spored, f):
    first = spored.call("Functions", "Get", {"name": f})
    assert spored.cli("function", "tag", f, "team=core", "cost=a=b").code == 0
    done = spored.cli("function", "untag", f, "team", "absent")
    assert done.out == "cost=a=b\n", done
    shown = spored.call("Functions", "Get", {"name": f, "qualifier": "1"})
    assert shown["tags"] == {"cost": "a=b"} and shown["version"] == 1
    assert "cost=a=b" in spored.cli("function", "show", f).out
    second = spored.call("Functions", "Get", {"name": f})
    assert second["version"] == first["version"], "no version of the code is made for a tag"
    assert second["revision_id"] != first["revision_id"]
    error = spored.error_of("Functions", "Update", {
        "name": f, "revision_id": first["revision_id"], "settings": {"handler": "app.other"}})
    assert error.code == ttrpc.CODES["FAILED_PRECONDITION"] and second["revision_id"] in error.message
    assert spored.call("Functions", "Update", {
        "name": f, "revision_id": second["revision_id"], "keep_environment": True,
        "settings": {"description": "new"}})["settings"]["description"] == "new"


def busy(spored, clients, name, **fields):
    client = spored.client()
    clients.append(client)
    before = len([i for i in spored.instances(function=name) if i["state"] == "BUSY"])
    client.send("Invocations", "Invoke", {"name": name, "payload": b'{"sleep": 60}', **fields})
    daemon.wait_until(lambda: len([i for i in spored.instances(function=name)
                                   if i["state"] == "BUSY"]) > before, what="it is busy")


def test_the_limit_holds_for_all_versions_together(spored, f):
    spored.call("Versions", "SetConcurrency", {"name": f, "concurrency": 2})
    assert spored.call("Functions", "Get", {"name": f})["concurrency"] == 2
    clients = []
    busy(spored, clients, f)
    busy(spored, clients, f, qualifier="1")
    for qualifier in ("", "1", "2"):
        error = spored.error_of("Invocations", "Invoke", {"name": f, "qualifier": qualifier})
        assert error.code == ttrpc.CODES["RESOURCE_EXHAUSTED"]
        assert error.message.startswith("throttled: ") and "2 instances of" in error.message, error
    assert spored.call("Functions", "Get", {"name": f})["version"] == 3, "no version of the code is made for it"
    assert spored.cli("function", "concurrency", f, "3").code == 0
    assert spored.result(f, {}, qualifier="2")["text"] == "two"
    for client in clients:
        client.close()


def test_concurrency_0_stops_a_function_and_clear_lets_it_go_on(spored, f):
    spored.result(f, {})
    assert spored.cli("function", "concurrency", f, "0").code == 0
    daemon.wait_until(lambda: not spored.instances(function=f), what="the idle one has ended")
    for qualifier in ("", "1"):
        error = spored.error_of("Invocations", "Invoke", {"name": f, "qualifier": qualifier})
        assert error.code == ttrpc.CODES["RESOURCE_EXHAUSTED"] and error.message.startswith("throttled: "), error
    done = spored.cli("invoke", f)
    assert done.code == 4 and "concurrency is 0" in done.err, done
    assert spored.cli("function", "concurrency", f, "--clear").code == 0
    assert spored.result(f, {})["text"] == "three"
    assert spored.call("Functions", "Get", {"name": f})["concurrency"] in (None, 0)
    assert spored.cli("function", "concurrency", f).code == 2


def kept(spored, name, qualifier):
    return [i for i in spored.instances(function=name) if i["qualifier"] == qualifier and i["state"] == "IDLE"]


def test_provisioned_instances_follow_the_alias(spored, f):
    alias(spored, f, "prod", 1)
    assert spored.cli("function", "provision", f"{f}:prod", 2).code == 0
    daemon.wait_until(lambda: len(kept(spored, f, "1")) == 2, what="two of version 1 are ready")
    response = spored.invoke(f, {}, qualifier="prod")
    assert response["loaded_ahead"] and response["result"]["text"] == "one"
    alias(spored, f, "prod", 1, second_version=2, second_weight=0.5)
    daemon.wait_until(lambda: len(kept(spored, f, "2")) == 1, what="one of version 2 is ready")
    alias(spored, f, "prod", 2)
    daemon.wait_until(lambda: len(kept(spored, f, "2")) == 2, what="two of version 2 are ready")
    update(spored, f, "later")  # concerns the working copy only
    assert len(kept(spored, f, "2")) == 2
    table = spored.cli("ps", f).out
    assert f"{f}:2" in table
    assert spored.cli("function", "provision", f"{f}:prod", 0).code == 0
    assert spored.call("Versions", "ListAliases", {"name": f})["aliases"][0]["min_instances"] == 0
    spored.call("Versions", "SetConcurrency", {"name": f, "concurrency": 1})
    error = spored.error_of("Versions", "Provision", {"name": f, "qualifier": "1", "instances": 2})
    assert "2 instances of function" in error.message and "of the 1" in error.message


def test_a_removed_version_ends_and_its_number_does_not_come_again(spored, f):
    clients = []
    spored.result(f, {}, qualifier="2")
    busy(spored, clients, f, qualifier="1")
    done = spored.cli("function", "rm", f"{f}:1", f"{f}:2")
    assert done.code == 0 and done.out == f"{f}:1\n{f}:2\n", done
    assert versions(spored, f) == []
    assert spored.error_of("Invocations", "Invoke", {"name": f, "qualifier": "1"}).code == ttrpc.CODES["NOT_FOUND"]
    daemon.wait_until(lambda: [i["state"] for i in spored.instances(function=f)] == ["BUSY"],
                      what="the idle one of version 2 has ended, the busy one goes on")
    place = spored.state / "functions" / f
    assert (place / "v1").is_dir(), "its code is there while it is used"
    clients[0].close()
    daemon.wait_until(lambda: sorted(os.listdir(place)) == ["current", "facts.pb", "v3"],
                      what="the code that nobody needs is gone")
    assert publish(spored, f) == 3
    done = spored.cli("function", "rm", f"{f}:prod")
    assert done.code == 4 and "NAME:NUMBER" in done.err, done


def test_removing_a_function_takes_all_of_it_along(spored):
    spored.deploy("whole", code("old"))
    publish(spored, "whole")
    alias(spored, "whole", "prod", 1)
    spored.call("Versions", "Tag", {"name": "whole", "set": {"a": "b"}})
    spored.call("Versions", "SetConcurrency", {"name": "whole", "concurrency": 0})
    spored.remove_function("whole")
    spored.deploy("whole", code("new"))
    assert spored.result("whole", {})["text"] == "new"
    assert versions(spored, "whole") == []
    assert spored.call("Functions", "Get", {"name": "whole"})["tags"] == {}
    assert publish(spored, "whole") == 1
    spored.remove_function("whole")


def test_the_command_tells_all_of_it(spored, f):
    done = spored.cli("function", "publish", f, "--description", "the third")
    assert done.code == 0 and done.out == f"published {f}:3\n", done
    assert spored.cli("function", "publish", f).out == f"unchanged since {f}:3\n"
    assert spored.cli("function", "publish", f, "-q").out == "3\n"
    listed = spored.cli("function", "versions", f, "--json").json()
    assert [v["number"] for v in listed] == [1, 2, 3] and listed[2]["description"] == "the third"
    assert {"number", "description", "published_unix_ms", "min_instances", "update", "function"} == set(listed[0])
    assert listed[0]["function"]["published_version"] == 1
    assert "the third" in spored.cli("function", "versions", f).out
    done = spored.cli("function", "alias", "set", f, "prod", 3, "--canary", "2=0.1", "--description", "d")
    assert done.out == f"{f}:prod is version 3, 2=0.1\n", done
    listed = spored.cli("function", "alias", "ls", f, "--json").json()
    assert listed[0]["second_weight"] == 0.1 and listed[0]["revision_id"]
    assert "3, 2=0.1" in spored.cli("function", "alias", "ls", f).out
    for canary in ("2", "2=", "=0.1", "2=1.5", "2=-1", "x=0.1", "2=nan"):
        done = spored.cli("function", "alias", "set", f, "prod", 3, "--canary", canary)
        assert done.code == 2 and "VERSION=WEIGHT" in done.err, done
    assert json.loads(spored.cli("invoke", f"{f}:2", "--payload", "{}").out)["text"] == "two"
    assert json.loads(spored.cli("invoke", f"{f}:$LATEST").out)["text"] == "three"
    whole = spored.cli("invoke", f"{f}:2", "--json").json()
    assert whole["executed_version"] == "2"
    shown = spored.cli("function", "show", f"{f}:3")
    assert "the third" in shown.out and re.search(r"Version:\s+3\n", shown.out), shown
    assert re.search(r"Version:\s+\$LATEST\n", spored.cli("function", "show", f).out)
    assert "Version: 2" in spored.cli("logs", f).out and "Version: $LATEST" in spored.cli("logs", f).out
    assert spored.cli("function", "alias", "rm", f, "prod").code == 0
    assert spored.cli("function", "alias", "ls", f, "--json").json() == []


def test_many_functions_are_listed_in_pages(spored):
    large = {f"K{i}": "x" * 30000 for i in range(2)}
    names = [f"page-{i:03}" for i in range(60)]
    for name in names:
        spored.deploy(name, code("p"), environment=large)
    first = spored.call("Functions", "List", {"marker": "page-", "limit": 7})
    assert [f["name"] for f in first["functions"]] == names[:7] and first["next_marker"] == names[6]
    rest = spored.call("Functions", "List", {"marker": names[6]})
    assert len(rest["functions"]) > 40 and rest["next_marker"], "as many as a message holds"
    listed = spored.cli("function", "ls", "-q").out.split()
    assert [name for name in listed if name in names] == names and listed == sorted(listed)
    assert spored.cli("function", "rm", *names).code == 0


OWNER = 64001


def test_a_client_has_a_bound_for_versions_and_what_is_kept_ready(spored):
    os.chmod(spored.socket, 0o666)
    path = spored.directory / "app.py"
    path.write_text(APP.format(text="x"))
    as_owner = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"]

    def cli(*args):
        return spored.cli(*args, prefix=as_owner)

    assert cli("function", "deploy", "bound", path, "--runtime", "python", "--handler", "app.handler").code == 0
    for number in range(1, 5):
        assert cli("function", "update", "bound", "--env", f"N={number}").code == 0
        assert cli("function", "publish", "bound", "-q").out == f"{number}\n"
    cli("function", "update", "bound", "--env", "N=5")
    done = cli("function", "publish", "bound")
    assert done.code == 4 and "5 functions and published versions" in done.err, done
    assert cli("function", "rm", "bound:1").code == 0
    assert cli("function", "publish", "bound", "-q").out == "5\n"
    done = cli("function", "provision", "bound:5", 3)
    assert done.code == 4 and "max-reserved" in done.err, done
    assert cli("function", "provision", "bound:5", 2).code == 0
    done = cli("function", "update", "bound", "--min-instances", 1)
    assert done.code == 4 and "max-reserved" in done.err, done
    # Somebody else is told that there is no such function.
    other = ["setpriv", "--reuid=64002", "--regid=64002", "--clear-groups"]
    for arguments in (["function", "versions", "bound"], ["function", "publish", "bound"], ["invoke", "bound:5"],
                      ["function", "alias", "set", "bound", "a", 5], ["function", "rm", "bound:5"],
                      ["function", "tag", "bound", "a=b"], ["function", "concurrency", "bound", 0],
                      ["function", "alias", "ls", "bound"], ["function", "provision", "bound:5", 0]):
        done = spored.cli(*arguments, prefix=other)
        assert done.code == 4 and 'no function "bound"' in done.err, done
    assert cli("function", "rm", "bound").code == 0


# ---- what is on disk


@pytest.fixture
def place():
    """A daemon that tests kill and start again; `keeps` has versions 1 and 2 and an alias of 1."""
    server = daemon.Spored()
    try:
        server.start()
        server.deploy("keeps", code("one"))
        publish(server, "keeps")
        update(server, "keeps", "two")
        publish(server, "keeps")
        update(server, "keeps", "three")
        alias(server, "keeps", "prod", 1)
        yield server
        server.check_end()
    finally:
        server.stop(9)
        server.remove()


def state(server):
    return {"texts": [server.result("keeps", {}, qualifier=q)["text"] for q in ("", *map(str, versions(server, "keeps")), "prod")],
            "versions": versions(server, "keeps"),
            "aliases": [(a["name"], a["version"]) for a in server.call("Versions", "ListAliases", {"name": "keeps"})["aliases"]],
            "tags": server.call("Functions", "Get", {"name": "keeps"})["tags"]}


def test_all_of_it_survives_a_restart_and_kill_9(place):
    place.call("Versions", "Tag", {"name": "keeps", "set": {"a": "b"}})
    place.call("Versions", "Provision", {"name": "keeps", "qualifier": "prod", "instances": 1})
    place.call("Versions", "SetConcurrency", {"name": "keeps", "concurrency": 7})
    before = state(place)
    assert before["texts"] == ["three", "one", "two", "one"]
    function = place.call("Functions", "Get", {"name": "keeps"})
    for how in (15, 9):
        place.stop(how)
        place.start()
        daemon.wait_until(lambda: kept(place, "keeps", "1"), what="what was provisioned is ready again")
        assert state(place) == before
        again = place.call("Functions", "Get", {"name": "keeps"})
        assert {**again, "instances": 0} == {**function, "instances": 0}
    assert sorted(os.listdir(place.state / "functions/keeps")) == ["current", "facts.pb", "v1", "v2", "v3"]


CHANGES = {
    "publish": lambda s: publish(s, "keeps"),
    "alias": lambda s: alias(s, "keeps", "prod", 2),
    "rm": lambda s: s.call("Versions", "Remove", {"name": "keeps", "number": 2}),
    "tag": lambda s: s.call("Versions", "Tag", {"name": "keeps", "set": {"new": "tag"}}),
}


@pytest.mark.parametrize("change, point, how", [
    ("publish", "facts-staged", "kill"), ("publish", "facts-renamed", "kill"), ("publish", "facts-renamed", "fail"),
    ("alias", "facts-staged", "fail"), ("alias", "facts-renamed", "kill"),
    ("rm", "facts-staged", "kill"), ("rm", "facts-renamed", "kill"), ("rm", "facts-renamed", "fail"),
    ("tag", "facts-renamed", "fail"),
])
def test_a_change_that_is_cut_short_is_there_or_not(place, change, point, how):
    before = state(place)
    place.stop()
    place.start({"SPORE_FAULT": f"{point}:{how}"})
    try:
        CHANGES[change](place)
        raise AssertionError("the point was not reached")
    except (ttrpc.RpcError, OSError) as error:
        if how == "fail":
            assert error.code == ttrpc.CODES["INTERNAL"], error
            assert state(place) == before, "the daemon that met the error goes on with the old"
    if how == "kill":
        assert place.process.wait(60) == -9
    else:
        place.stop()
    place.start()
    if how == "fail" or point == "facts-staged":
        assert state(place) == before
    else:
        assert state(place) != before, "what was renamed into place is in force"
    assert not list((place.state / "staging").iterdir())
    CHANGES["tag"](place)
    assert state(place)["tags"] == {"new": "tag"}
    number = publish(place, "keeps")
    assert place.result("keeps", {}, qualifier=str(number))["text"] == "three"


def test_a_damaged_version_is_told_and_can_be_removed(place):
    place.stop()
    (place.state / "functions/keeps/v2/function.pb").write_bytes(b"nonsense")
    place.start()
    assert "function keeps:2 is damaged and skipped" in place.log_text()
    assert place.result("keeps", {}, qualifier="1")["text"] == "one"
    error = place.error_of("Invocations", "Invoke", {"name": "keeps", "qualifier": "2"})
    assert error.code == ttrpc.CODES["FAILED_PRECONDITION"] and "damaged" in error.message
    assert "(damaged)" in place.cli("function", "versions", "keeps").out
    assert place.cli("function", "rm", "keeps:2").code == 0
    assert versions(place, "keeps") == [1]


def test_an_image_of_a_published_version_is_kept(place, tmp_path):
    root = images_of_own.python_root(tmp_path)
    done = place.cli("image", "import", "own", "--runtime", "python", "--root", root, timeout=300)
    assert done.code == 0, done
    settings = {"image": "own", "limits": {"memory_bytes": 256 << 20}}
    place.call("Functions", "Update", {"name": "keeps", "keep_environment": True, "settings": settings})
    assert publish(place, "keeps") == 3
    place.call("Functions", "Update", {"name": "keeps", "keep_environment": True, "settings": {"image": "python"}})
    done = place.cli("image", "rm", "own")
    assert done.code == 4 and "is used by 1 functions: keeps:3" in done.err, done
    assert place.result("keeps", {}, qualifier="3")["text"] == "three"
    assert place.cli("image", "rm", "--force", "own").code == 0
    error = place.error_of("Invocations", "Invoke", {"name": "keeps", "qualifier": "3"})
    assert "keeps:3 was deployed with image own@1, which is there no more" in error.message
    assert place.result("keeps", {})["text"] == "three"
