"""Who may do what: the kernel says who asks; owners, the group and root are told apart."""
import grp
import json
import os
import subprocess

import daemon
import pytest
import ttrpc

OWNER, OTHER = 48213, 48214
CODE = "import time\ndef handler(e, c):\n    time.sleep(e or 0)\n    return 'secret'\n"


def as_user(uid, groups=()):
    identity = [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", *identity]


@pytest.fixture(scope="module")
def spored():
    """A daemon whose socket any user may open: what matters is what it then allows."""
    with daemon.Spored({"socket-group": str(grp.getgrgid(0).gr_name)}).running() as server:
        os.chmod(server.socket, 0o666)
        server.deploy("roots", {"app.py": CODE})
        yield server


@pytest.fixture(scope="module")
def owned(spored, tmp_path_factory):
    """A function deployed by the unprivileged owner."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "app.py").write_text(CODE)
    folder.chmod(0o755)
    for parent in list(folder.parents)[:3]:
        if str(parent).startswith("/tmp/pytest"):
            parent.chmod(0o755)
    done = spored.cli("function", "deploy", "owned", "--runtime", "python", "--handler",
                      "app.handler", folder, prefix=as_user(OWNER))
    assert done.code == 0, done
    assert spored.call("Functions", "Get", {"name": "owned"})["owner_uid"] == OWNER
    return spored


def test_socket_is_closed_to_strangers_by_default():
    server = daemon.Spored()
    try:
        server.start()
        mode = os.stat(server.socket).st_mode & 0o777
        assert mode & 0o007 == 0
        done = server.cli("function", "ls", prefix=as_user(OTHER))
        assert done.code == 3 and "permission denied" in done.err.lower(), done
    finally:
        server.stop()
        server.remove()


def test_owner_may_use_its_function(owned):
    for arguments in (["invoke", "owned"], ["function", "show", "owned"], ["logs", "owned"],
                      ["function", "update", "owned", "--pids", "32"]):
        done = owned.cli(*arguments, prefix=as_user(OWNER))
        assert done.code == 0, (arguments, done)


@pytest.mark.parametrize("arguments", [
    ["invoke", "owned"], ["function", "show", "owned"], ["function", "rm", "owned"],
    ["function", "update", "owned", "--pids", "8"], ["logs", "owned"],
], ids=lambda arguments: " ".join(arguments[:2]))
def test_another_user_may_not(owned, arguments):
    done = owned.cli(*arguments, prefix=as_user(OTHER))
    assert done.code == 4 and done.out == "", done
    # In the same words as a name that does not exist.
    absent = owned.cli(*[word.replace("owned", "absent") for word in arguments],
                       prefix=as_user(OTHER))
    assert done.err == absent.err.replace("absent", "owned")
    assert owned.result("owned") == "secret"


def test_roots_function_is_not_anybodys(owned):
    for arguments in (["invoke", "roots"], ["function", "rm", "roots"], ["logs", "roots"]):
        assert owned.cli(*arguments, prefix=as_user(OTHER)).code == 4


def test_listings_show_only_ones_own(owned):
    owned.invoke("roots")
    owned.invoke("owned")
    mine = owned.cli("function", "ls", "-q", prefix=as_user(OWNER)).out.split()
    assert mine == ["owned"]
    assert owned.cli("function", "ls", "-q", prefix=as_user(OTHER)).out.split() == []
    assert {"owned", "roots"} <= set(owned.cli("function", "ls", "-q").out.split())
    functions = {row["function"] for row in owned.cli("ps", "--json", prefix=as_user(OWNER)).json()}
    assert functions == {"owned"}


def test_instances_of_others_can_be_neither_seen_nor_killed(owned):
    owned.invoke("roots")
    instance = owned.instances(function="roots")[0]["id"]
    for command in ("inspect", "kill"):
        done = owned.cli(command, instance, prefix=as_user(OTHER))
        assert done.code == 4, done
    assert instance in [i["id"] for i in owned.instances(function="roots")]


def test_listing_of_instances_is_filtered_for_who_asks(owned):
    """Also the dead ones, and those asked for by another's name; by the socket, not by what spore shows."""
    owned.invoke("roots")
    owned.invoke("owned")
    program = (
        "import json, sys; sys.path.insert(0, %r)\n"
        "import ttrpc\n"
        "c = ttrpc.Client(%r)\n"
        "print(json.dumps([[i['function'] for i in c.call('Instances', 'List', fields)['instances']]\n"
        "    for fields in ({}, {'include_dead': True}, {'function': 'roots', 'include_dead': True})]))\n"
    ) % (str(daemon.ROOT / "tests/e2e"), str(owned.socket))

    def seen_by(uid):
        done = subprocess.run([*as_user(uid), "/usr/bin/python3", "-c", program],
                              capture_output=True, text=True, timeout=120, check=True)
        return [set(names) for names in json.loads(done.stdout)]

    assert seen_by(OWNER) == [{"owned"}, {"owned"}, set()]
    # OTHER may have run scripts of its own here, which have no function.
    assert all(names <= {""} for names in seen_by(OTHER))
    everything, with_dead, roots = seen_by(0)
    assert {"owned", "roots"} <= everything <= with_dead and roots == {"roots"}


def test_name_of_another_cannot_be_taken_over(owned, tmp_path_factory):
    folder = tmp_path_factory.mktemp("thief")
    (folder / "app.py").write_text(CODE.replace("secret", "stolen"))
    for parent in [folder, *list(folder.parents)[:2]]:
        parent.chmod(0o755)
    done = owned.cli("function", "deploy", "owned", "--runtime", "python", "--handler",
                     "app.handler", folder, prefix=as_user(OTHER))
    assert done.code == 4
    assert owned.result("owned") == "secret"


def test_root_may_do_everything(owned):
    assert owned.cli("invoke", "owned").code == 0
    assert owned.cli("logs", "owned").code == 0


def test_run_as_a_stranger_is_its_own(owned):
    done = owned.cli("run", "--runtime", "python", "-", input=b"print('run')",
                     prefix=as_user(OTHER))
    assert (done.code, done.out) == (0, "run\n"), done


def test_claims_in_metadata_count_for_nothing(owned):
    """The peer is who the kernel says, not who a message says."""
    program = (
        "import sys; sys.path.insert(0, %r)\n"
        "import ttrpc, protobuf\n"
        "c = ttrpc.Client(%r)\n"
        "body = protobuf.encode('TtrpcRequest', {'service': 'spore.v1.Functions', 'method': 'Remove',\n"
        "    'payload': protobuf.encode('RemoveFunctionRequest', {'name': 'roots'}),\n"
        "    'metadata': [{'key': 'uid', 'value': '0'}, {'key': 'user', 'value': 'root'}]})\n"
        "c.send_raw(ttrpc.frame(1, 1, body))\n"
        "print(protobuf.decode('TtrpcResponse', c.receive()[2])['status']['code'])\n"
    ) % (str(daemon.ROOT / "tests/e2e"), str(owned.socket))
    done = subprocess.run([*as_user(OTHER), "/usr/bin/python3", "-c", program],
                          capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(ttrpc.CODES["NOT_FOUND"]), done
    assert owned.result("roots") == "secret"


def test_state_is_closed_to_strangers(owned):
    for path in (owned.state, owned.state / "functions"):
        done = subprocess.run([*as_user(OTHER), "ls", str(path)], capture_output=True)
        assert done.returncode != 0, path
