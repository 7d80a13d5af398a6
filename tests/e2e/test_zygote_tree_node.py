"""Library sets of Node.js: what is required once, which packages count, and what `spore advise` tells of them."""
import os

import pytest
import sets
from test_zygote_tree import start_of

TOOLS = """runtime = "node"
packages = ["node-typescript", "node-terser"]
[environment]
NODE_PATH = "/usr/share/nodejs"
[[set]]
name = "compiler"
modules = ["typescript"]
[[set]]
name = "both"
parent = "compiler"
modules = ["terser"]
"""


@pytest.fixture(scope="module", autouse=True)
def place():
    with sets.place():
        yield


@pytest.fixture(scope="module")
def node(place):
    with sets.serve(images=[("tools", TOOLS)], kit=sets.NODE) as server:
        os.chmod(server.socket, 0o666)
        yield server


COMPILES = """const ts = require('typescript');
const file = Object.keys(require.cache).find((name) => name.endsWith('/typescript.js'));
exports.handler = async (event) => [ts.transpileModule(event, {}).outputText, file, Math.random(), require('crypto').randomUUID()];
"""
IMPORTS = """import { createRequire } from 'module';
const require = createRequire('/var/task/x');
const { default: ts } = await import(require.resolve('typescript'));
export const handler = async (event) => [ts.transpileModule(event, {}).outputText, '', Math.random(), ''];
"""


def test_typescript(node):
    """A compiler of nine megabytes; by require, and in an ES module by import."""
    deployed = {"compiles": {"index.js": COMPILES}, "imports": {"index.mjs": IMPORTS}}
    for name, files in deployed.items():
        node.deploy(name, files, "index.handler", "ISOLATION_INVOCATION", image="tools", runtime="node",
                    limits={"memory_bytes": 512 << 20})
    assert node.cli("zygote", "warm", "tools/compiler").code == 0
    for name in deployed:
        assert start_of(node.invoke(name, "let a: number = 1"))[0][0] == "var a = 1;\n"
        found = [start_of(node.invoke(name, "let a: number = 1")) for _ in range(4)]
        assert {start for _, start in found} == {"compiler"}, name
        assert {result[0] for result, _ in found} == {"var a = 1;\n"}
        assert len({result[2] for result, _ in found}) == 4, "siblings share no randomness"
    assert len({start_of(node.invoke("compiles", ""))[0][3] for _ in range(4)}) == 4
    zygote = sets.of_set(node, "compiler", "tools")
    assert zygote["flat_bytes"] > 16 << 20 and zygote["unique_bytes"] >= zygote["flat_bytes"]
    assert zygote["memory_bytes"] >= zygote["flat_bytes"]


def test_a_set_of_a_set_and_other_packages_by_the_same_name(node):
    """What a function brings along is its own, whatever the set has."""
    assert node.cli("zygote", "warm", "tools/both").code == 0
    own = {"index.js": "const ts = require('typescript'); exports.handler = async () => [ts.version, "
                       "require('terser').minify !== undefined];",
           "node_modules/typescript/index.js": "exports.version = 'mine';"}
    node.deploy("brings", own, "index.handler", "ISOLATION_INVOCATION", image="tools", runtime="node", libraries="both")
    assert start_of(node.invoke("brings")) == (["mine", True], "both")
    assert node.cli("function", "update", "brings", "--libraries", "auto").code == 0
    for _ in range(3):
        assert start_of(node.invoke("brings"))[1] == "", "it has not loaded the image's"


LIAR_IN_JAVASCRIPT = """const claims = %s;
Array.prototype.filter = function filter() { return claims(this); };
exports.handler = async () => 'answered';
"""


@pytest.mark.parametrize("lie", ["(all) => [...all]", "() => ['/etc/passwd', '', '../dear', 'x'.repeat(3000)]"])
def test_lies_of_a_node_function_choose_among_the_sets_at_most(node, lie):
    node.deploy("liar", {"index.js": LIAR_IN_JAVASCRIPT % lie}, "index.handler", "ISOLATION_INVOCATION", image="sets",
                runtime="node")
    assert node.cli("zygote", "warm", "sets").code == 0
    try:
        before = {z["set"] for z in sets.zygotes(node)}
        for _ in range(5):
            assert node.result("liar") == "answered"
        assert {z["set"] for z in sets.zygotes(node)} == before, "no set that the operator did not name"
    finally:
        node.remove_function("liar")


def test_advice_for_a_node_function(node):
    node.deploy("advised", {
        "index.js": "const { readFileSync } = require('fs'); require('./helper'); require('slow'); const mine = require('mine');"
                    "require('fs'); exports.handler = async () => { process.exit(1); };",
        "helper.js": "require('dear'); require('./second');", "second.js": "",
        "node_modules/mine/index.js": "require('./part');", "node_modules/mine/part.js": "",
    }, "index.handler", image="sets", runtime="node")
    advice = node.cli("advise", "advised", "--json").json()
    modules = {module["name"]: module for module in advice["modules"]}
    assert modules["dear"]["self_us"] >= 100_000 and not modules["dear"]["own"]
    assert modules["dear"]["memory_bytes"] >= 3 << 20
    assert modules["helper"]["own"] and modules["helper"]["total_us"] - modules["helper"]["self_us"] >= 100_000
    assert modules["mine"]["own"] and modules["second"]["own"] and "part" not in modules
    assert "fs" in advice["preloaded"] and advice["load_us"] >= 3_100_000
    assert [s["name"] for s in advice["sets"] if s["serves"]] in (["dear"], ["slow"])
    assert {s["name"] for s in advice["sets"]} == {"dear", "slow"}
    shown = node.cli("advise", "advised")
    assert shown.code == 0 and "Preloaded already: fs" in shown.out, shown


def test_fragment_for_node_can_be_pasted(place):
    plain = 'runtime = "node"\n[environment]\nNODE_PATH = "/usr/share/nodejs"\n'
    files = {"index.js": "const ts = require('typescript'); exports.handler = async () => ts.version"}

    def deployed(images):
        server.deploy("f", files, "index.handler", "ISOLATION_INVOCATION", image=images, runtime="node",
                      limits={"memory_bytes": 512 << 20})
    with sets.serve(images=[("plain", plain)], kit=sets.NODE) as server:
        deployed("plain")
        advice = server.cli("advise", "f", "--json").json()
        assert advice["proposed"]["modules"] == ["typescript"], advice
    with sets.serve(images=[("plain", plain + advice["fragment"])], kit=sets.NODE) as server:
        assert server.cli("zygote", "warm", "plain/typescript").code == 0
        deployed("plain")
        assert server.invoke("f")["error"] is None
        assert start_of(server.invoke("f"))[1] == "typescript"
        again = server.cli("advise", "f", "--json").json()
        assert [s["name"] for s in again["sets"] if s["serves"]] == ["typescript"] and not again.get("proposed")
        # What an ES module imports is not told apart, but a CommonJS package is seen to be there.
        server.deploy("g", {"index.mjs": "import { createRequire } from 'module';"
                            "const ts = await import(createRequire('/var/task/x').resolve('typescript'));"
                            "export const handler = async () => ts.version"}, "index.handler", image="plain", runtime="node",
                      limits={"memory_bytes": 512 << 20})
        imported = server.cli("advise", "g", "--json").json()
        assert [s["name"] for s in imported["sets"] if s["serves"]] == ["typescript"], imported
