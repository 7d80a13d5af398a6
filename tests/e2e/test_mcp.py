"""spore mcp: a sandbox for an agent, over JSON-RPC on standard input and output."""
import base64
import json
import subprocess

import daemon
import pytest


class Agent:
    """The client's side of the protocol."""

    def __init__(self, spored, *options):
        self.process = subprocess.Popen(
            [daemon.find_program("spore"), "--socket", str(spored.socket), "mcp", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=daemon.environment())
        self.count = 0

    def send(self, message):
        self.process.stdin.write((message if isinstance(message, str) else json.dumps(message)).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self):
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read().decode()
        return json.loads(line)

    def ask(self, method, **params):
        self.count += 1
        self.send({"jsonrpc": "2.0", "id": self.count, "method": method, "params": params})
        answer = self.receive()
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", self.count), answer
        return answer

    def tool(self, name, /, **arguments):
        """(text, whether it is an error)."""
        result = self.ask("tools/call", name=name, arguments=arguments)["result"]
        return "\n".join(part["text"] for part in result["content"] if part["type"] == "text"), result["isError"]

    def end(self):
        self.process.stdin.close()
        code = self.process.wait(60)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


@pytest.fixture
def agent(spored):
    agent = Agent(spored)
    hello = agent.ask("initialize", protocolVersion="2025-03-26", capabilities={},
                      clientInfo={"name": "test", "version": "1"})["result"]
    assert hello["protocolVersion"] == "2025-03-26" and "tools" in hello["capabilities"]
    agent.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    yield agent
    if agent.process.poll() is None:
        assert agent.end() == 0
    assert not sessions(spored)


def sessions(spored):
    return spored.call("Sandboxes", "List")["sessions"]


def test_tools_are_described(agent, spored):
    tools = {tool["name"]: tool for tool in agent.ask("tools/list")["result"]["tools"]}
    assert set(tools) == {"run_code", "run_command", "read_file", "write_file", "list_files", "branch", "end_branch",
                          "checkpoint", "restore"}
    assert tools["run_code"]["inputSchema"]["required"] == ["code"]
    assert agent.ask("ping")["result"] == {}
    assert not sessions(spored), "there is a sandbox before anything was asked for"


def test_code_keeps_its_state(agent):
    assert agent.tool("run_code", code="x = 20") == ("(no output)", False)
    text, failed = agent.tool("run_code", code="print('out')\nx + 1")
    assert not failed and "[stdout]\nout" in text and "[value]\n21" in text
    text, failed = agent.tool("run_code", code="1 / 0")
    assert failed and "ZeroDivisionError: division by zero" in text and "\nTraceback (most recent call last):\n" in text
    text, failed = agent.tool("run_code", code="while True: pass", timeout_seconds=0.3)
    assert failed and "its time was over" in text
    assert "[value]\n20" in agent.tool("run_code", code="x")[0]


def test_commands_and_files(agent):
    assert agent.tool("write_file", path="/tmp/a.txt", content="one\n")[1] is False
    agent.tool("write_file", path="/tmp/a.txt", content="two\n", append=True)
    assert agent.tool("run_command", command="cat a.txt; exit 3") == ("[stdout]\none\ntwo\n\n[exit code 3]", True)
    assert "a.txt  8 bytes" in agent.tool("list_files")[0]
    assert agent.tool("read_file", path="/tmp/a.txt") == ("one\ntwo\n", False)
    raw = bytes(range(256))
    agent.tool("write_file", path="/tmp/raw", content=base64.b64encode(raw).decode(), base64=True)
    text, _ = agent.tool("read_file", path="/tmp/raw")
    assert base64.b64decode(text.split("\n")[0]) == raw and "[base64]" in text
    text, failed = agent.tool("run_command", command="sleep 600", background=True)
    assert not failed and "[running: process" in text


def test_branches(agent, spored):
    agent.tool("run_code", code="x = [1]")
    text, failed = agent.tool("branch", copies=2)
    first, second = text.split()
    assert not failed and len(sessions(spored)) == 3
    agent.tool("run_code", code="x.append(2)", sandbox=first)
    assert [agent.tool("run_code", code="x", **where)[0] for where in (
        {}, {"sandbox": first}, {"sandbox": second})] == ["[value]\n[1]", "[value]\n[1, 2]", "[value]\n[1]"]
    assert agent.tool("end_branch", sandbox=first)[1] is False
    text, failed = agent.tool("run_code", code="x", sandbox=first)
    assert failed and "has ended" in text
    for wrong in (first, "0" * 12, 5):
        text, failed = agent.tool("run_code", code="x", sandbox=wrong)
        assert failed and "sandbox: expected an id" in text
    assert agent.tool("run_code", code="x")[0] == "[value]\n[1]"


def test_checkpoints(agent, spored):
    agent.tool("run_code", code="x = [1]")
    assert agent.tool("checkpoint", name="agent") == ("agent", False)
    agent.tool("run_code", code="x.append(2)")
    try:
        back, failed = agent.tool("restore", name="agent")
        assert not failed and len(sessions(spored)) == 2
        assert agent.tool("run_code", code="x", sandbox=back) == ("[value]\n[1]", False)
        assert agent.tool("run_code", code="x") == ("[value]\n[1, 2]", False)
        assert agent.tool("end_branch", sandbox=back)[1] is False
        text, failed = agent.tool("checkpoint", name="agent")
        assert failed and "already" in text
    finally:
        spored.call("SessionCheckpoints", "Remove", {"name": "agent"})
    text, failed = agent.tool("restore", name="agent")
    assert failed and 'no session checkpoint "agent"' in text


def test_what_is_refused_is_a_result(agent):
    for name, arguments, message in [
            ("read_file", {"path": "/tmp/none"}, "No such file"),
            ("write_file", {"path": "/etc/x", "content": ""}, "/etc/x"),
            ("write_file", {"path": "/tmp/x", "content": "?", "base64": True}, "not base64"),
            ("run_code", {}, "code: it is missing"),
            ("run_code", {"code": 1}, "code: expected a string"),
            ("run_code", {"code": "", "timeout_seconds": -1}, "timeout_seconds: expected a number")]:
        text, failed = agent.tool(name, **arguments)
        assert failed and message in text, (name, arguments, text)


def test_what_is_no_request_is_refused(agent):
    for message, code in [("{", -32700), ("[]", -32600), ('"x"', -32600),
                          ({"jsonrpc": "2.0", "id": {}, "method": "ping"}, -32600),
                          ({"jsonrpc": "2.0", "id": 1, "method": 2}, -32600),
                          ({"jsonrpc": "2.0", "id": 1, "method": "nothing"}, -32601),
                          ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "rm"}}, -32602)]:
        agent.send(message)
        assert agent.receive()["error"]["code"] == code, message
    agent.send("")  # blank lines, and answers to nothing, are passed over
    agent.send({"jsonrpc": "2.0", "id": 9, "result": {}})
    assert agent.ask("ping")["result"] == {}


def test_calls_run_side_by_side_and_can_be_cancelled(agent):
    agent.tool("run_code", code="import time")
    agent.send({"jsonrpc": "2.0", "id": "long", "method": "tools/call",
                "params": {"name": "run_code", "arguments": {"code": "time.sleep(60)"}}})
    assert agent.tool("run_command", command="echo beside")[0].startswith("[stdout]\nbeside")
    agent.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "long"}})
    assert "[value]\n2" in agent.tool("run_code", code="1 + 1")[0]


def test_a_sandbox_that_ended_is_replaced(agent, spored):
    agent.tool("run_code", code="x = 1")
    (session,) = sessions(spored)
    spored.call("Sandboxes", "Kill", {"id": session["id"]})
    text, failed = agent.tool("run_code", code="x")
    assert failed and "the next call starts a fresh one" in text
    assert "NameError" in agent.tool("run_code", code="x")[0]


def test_code_of_a_node_image(spored):
    agent = Agent(spored, "--image", "node", "--memory", "512M")
    tools = {tool["name"]: tool for tool in agent.ask("tools/list")["result"]["tools"]}
    assert "javascript" in tools["run_code"]["description"]
    assert agent.tool("run_code", code="const x = [1, 2]") == ("(no output)", False)
    assert "[value]\n[ 2, 4 ]" in agent.tool("run_code", code="x.map((n) => n * 2)")[0]
    text, failed = agent.tool("run_code", code="absent")
    assert failed and "ReferenceError: absent is not defined" in text
    assert agent.end() == 0


def test_it_ends_with_its_client(spored):
    agent = Agent(spored, "--image", "native")
    names = [tool["name"] for tool in agent.ask("tools/list")["result"]["tools"]]
    assert "run_code" not in names and "run_command" in names
    agent.tool("run_command", command="true")
    assert len(sessions(spored)) == 1
    agent.process.terminate()
    assert agent.end() == 0
    assert not sessions(spored)


def test_an_image_that_is_not_there(spored):
    done = spored.cli("mcp", "--image", "nothing")
    assert done.code == 4 and "nothing" in done.err
