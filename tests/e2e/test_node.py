"""Functions in JavaScript: handlers of every form, their context, errors, modules and output."""
import json
import os
import time

import daemon
import pytest
import ttrpc

APP = r'''
const fs = require('fs');
let count = 0;

exports.echo = async (event) => event;
exports.counted = async () => ({ count: ++count, pid: process.pid, uid: process.getuid() });
exports.describe = async (event, context) => {
  const described = {};
  for (const [name, value] of Object.entries(context))
    if (typeof value !== 'function') described[name] = value;
  described.remaining = context.getRemainingTimeInMillis();
  await new Promise((resolve) => setTimeout(resolve, 50));
  described.later = context.getRemainingTimeInMillis();
  return described;
};
exports.environment = async () => process.env;
exports.surroundings = async () => ({
  cwd: process.cwd(), file: __filename, executable: process.execPath, argv: process.argv,
  execArgv: process.execArgv, stdin: fs.readFileSync(0, 'utf8'),
  modules: Object.keys(require.cache).filter((name) => name.includes('spore')),
  main: require.main === undefined, exception: process.listenerCount('exit'),
});

class Broken extends Error { get name() { return 'Broken'; } }
exports.fail = async (event) => { throw new Broken('broken: ' + event.why); };
exports.failNow = (event) => { throw new TypeError('broken: ' + event.why); };
exports.throwing = async (event) => {
  throw { text: 'a text', number: 7, nothing: undefined, object: { a: 1 },
          loop: (() => { const o = {}; o.o = o; return o; })(),
          proxy: new Proxy({}, { get() { throw new Error('no'); } }),
          foreign: require('vm').runInNewContext('new RangeError("of another realm")') }[event];
};

exports.back = (event, context, callback) => { setTimeout(() => callback(null, { back: event }), 5); };
exports.backError = (event, context, callback) => { callback(new Broken('through the callback')); };
exports.backText = (event, context, callback) => { callback('only a text'); };
exports.backWaits = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = event.waits;
  const began = Date.now();
  setTimeout(() => { fs.writeFileSync('/tmp/late', 'late'); }, 200);
  callback(null, { late: fs.existsSync('/tmp/late') });
};
exports.wasLate = async () => fs.existsSync('/tmp/late');
exports.never = () => { setTimeout(() => {}, 1); };
exports.neverAsync = () => new Promise(() => {});
exports.plain = (event) => ({ plain: event });
exports.twice = (event, context, callback) => { callback(null, 1); callback(null, 2); context.fail(new Error('late')); };
exports.done = (event, context) => { context.done(null, 'done'); };
exports.succeed = (event, context) => { context.succeed('succeeded'); };
exports.giveUp = (event, context) => { context.fail(new Broken('given up')); };
exports.thenable = () => ({ then: (resolve) => resolve('thenable') });

exports.results = async (event) => ({
  nothing: undefined, function: () => {}, date: new Date(0), nan: NaN, surrogate: '\ud800', text: 'naïve \u{1f600}',
  big: 1n, loop: (() => { const o = {}; o.o = o; return o; })(),
  throws: { toJSON() { throw new Broken('in toJSON'); } } })[event];

exports.speak = async () => {
  console.log('to stdout'); console.error('to stderr'); console.log('%s and %d', 'formatted', 5, { a: 1 });
  fs.writeSync(1, 'raw\n');
};
exports.shout = async (event) => { for (let i = 0; i < event; ++i) console.log('x'.repeat(99)); process.exit(3); };
exports.rejected = async () => { Promise.reject(new Broken('nobody listens')); await new Promise((r) => setTimeout(r, 1000)); };
exports.thrownLater = () => { setTimeout(() => { throw new Broken('in a timer'); }, 5); };
exports.handled = async () => {
  const seen = [];
  process.on('unhandledRejection', (reason) => seen.push(reason.message));
  Promise.reject(new Error('seen'));
  await new Promise((r) => setTimeout(r, 20));
  return seen;
};
exports.exits = async (event) => process.exit(event);
exports.slow = async (event) => { await new Promise((r) => setTimeout(r, event)); return process.pid; };
exports.nested = { deeper: { handler: async function () { return this === undefined ? 'nested' : typeof this; } } };
exports.number = 5;
'''


@pytest.fixture(scope="module")
def app(spored):
    """Deploys the application once for each handler that a test asks for."""
    deployed = set()

    def name_of(handler, isolation="ISOLATION_INSTANCE", **fields):
        name = f"{handler}-{isolation[10:]}".replace(".", "-") + ("-x" if fields else "")
        if name not in deployed:
            spored.deploy(name, {"index.js": APP}, f"index.{handler}", isolation, runtime="node", **fields)
            deployed.add(name)
        return name

    return name_of


@pytest.fixture(scope="module")
def load_failure(spored):
    """The error of a function that cannot be loaded."""
    def fail(files, handler="index.handler"):
        name = "broken" + str(abs(hash((str(files), handler))))
        spored.deploy(name, files, handler, runtime="node")
        return spored.failure(name)
    return fail


@pytest.mark.parametrize("event", [
    None, True, 0, -1.5, 1e300, "", "naïve \U0001f600", [], {}, {"a": [1, {"b": None}]}, "x" * 100000])
def test_events_and_results_are_json(spored, app, event):
    assert spored.result(app("echo"), event) == event


def test_large_events_and_results(spored, app):
    event = {"large": "y" * (1 << 20)}
    assert spored.result(app("echo"), event) == event


def test_an_event_is_what_json_says(spored, app):
    for payload in (b"{", b"nonsense", b"\xff\xfe", b'"\xed\xa0\x80"', b"[1,]", b"NaN"):
        response = spored.call("Invocations", "Invoke", {"name": app("echo"), "payload": payload})
        assert response["error"]["type"] == "Runtime.UnmarshalError", (payload, response)
    response = spored.call("Invocations", "Invoke", {"name": app("echo")})
    assert response["payload"] == b"null"


def test_an_instance_is_reused_and_an_isolated_one_is_not(spored, app):
    assert [spored.result(app("counted"))["count"] for _ in range(3)] == [1, 2, 3]
    fresh = [spored.result(app("counted", "ISOLATION_INVOCATION")) for _ in range(3)]
    assert [one["count"] for one in fresh] == [1, 1, 1]
    assert {one["pid"] for one in fresh} == {2} and all(one["uid"] >= 1000 for one in fresh)


def test_the_context_has_lambdas_names(spored, app):
    response = spored.invoke(app("describe"), None, client_context=b'{"custom":{"a":"b"}}')
    found = response["result"]
    assert found["functionName"] == app("describe") and found["functionVersion"] == "$LATEST"
    assert found["memoryLimitInMB"] == "128" and found["awsRequestId"] == response["request_id"]
    assert found["logGroupName"] == "/spore/" + app("describe")
    assert found["logStreamName"] and "invokedFunctionArn" in found
    assert found["callbackWaitsForEmptyEventLoop"] is True
    assert found["clientContext"] == {"custom": {"a": "b"}}
    assert 0 < found["later"] <= found["remaining"] - 45 <= 30000


def test_the_environment(spored):
    spored.deploy("environment", {"index.js": APP}, "index.environment", runtime="node",
                  environment={"GREETING": "hello", "TZ": "Asia/Tokyo"})
    found = spored.result("environment")
    assert found["GREETING"] == "hello" and found["TZ"] == "Asia/Tokyo"
    assert found["LAMBDA_TASK_ROOT"] == "/var/task" and found["_HANDLER"] == "index.environment"
    assert found["AWS_LAMBDA_FUNCTION_NAME"] == "environment"
    assert found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert not {"LD_PRELOAD", "UV_USE_IO_URING", "SPORE_WARM", "NODE_OPTIONS"} & set(found), found


def test_a_time_zone_of_its_own(spored):
    code = "exports.handler = async () => new Date(0).getHours();"
    spored.deploy("tokyo", {"index.js": code}, "index.handler", runtime="node", environment={"TZ": "Asia/Tokyo"})
    spored.deploy("utc", {"index.js": code}, "index.handler", runtime="node")
    assert (spored.result("tokyo"), spored.result("utc")) == (9, 0)


def test_surroundings(spored, app):
    found = spored.result(app("surroundings"))
    assert found["cwd"] == "/var/task" and found["file"] == "/var/task/index.js"
    assert found["executable"].startswith("/usr/bin/node") and found["execArgv"] == []
    assert found["stdin"] == "" and found["modules"] == [] and found["main"] is True
    assert not any("/run/spore" in word for word in found["argv"])


@pytest.mark.parametrize("handler", ["fail", "failNow"])
def test_an_error_is_told_with_its_stack(spored, app, handler):
    for _ in range(2):
        error = spored.failure(app(handler), {"why": "because"})
        assert error["type"] == {"fail": "Broken", "failNow": "TypeError"}[handler]
        assert error["message"] == "broken: because"
        assert "/var/task/index.js" in error["stack_trace"][0], error
        assert not any("/run/spore" in line for line in error["stack_trace"])


@pytest.mark.parametrize("thrown, kind, text", [
    ("text", "string", "a text"), ("number", "number", "7"), ("nothing", "undefined", "undefined"),
    ("object", "object", '{"a":1}'), ("loop", "object", ""), ("proxy", "object", ""),
    ("foreign", "RangeError", "of another realm")])
def test_anything_can_be_thrown(spored, app, thrown, kind, text):
    error = spored.failure(app("throwing"), thrown)
    assert error["type"] == kind and text in error["message"], error


def test_callbacks(spored, app):
    assert spored.result(app("back"), 5) == {"back": 5}
    assert spored.failure(app("backError"))["message"] == "through the callback"
    error = spored.failure(app("backText"))
    assert (error["type"], error["message"]) == ("string", "only a text")
    assert spored.result(app("twice")) == 1


def test_a_callback_waits_for_an_empty_event_loop_unless_told_otherwise(spored):
    spored.deploy("waits", {"index.js": APP}, "index.backWaits", runtime="node", isolation="ISOLATION_INVOCATION")
    began = time.monotonic()
    assert spored.result("waits", {"waits": True}) == {"late": False}
    assert time.monotonic() - began >= 0.2
    assert spored.result("waits", {"waits": False}) == {"late": False}


@pytest.mark.parametrize("handler, result", [
    ("never", None), ("neverAsync", None), ("plain", {"plain": 1}), ("done", "done"), ("succeed", "succeeded"),
    ("thenable", "thenable"), ("nested.deeper.handler", "nested")])
def test_other_forms_of_answers(spored, app, handler, result):
    for _ in range(2):
        found = spored.result(app(handler), 1)
        assert found == result or handler.startswith("nested") and found in ("nested", "object")


def test_context_fail(spored, app):
    assert spored.failure(app("giveUp"))["message"] == "given up"


@pytest.mark.parametrize("which, result", [
    ("nothing", None), ("function", None), ("date", "1970-01-01T00:00:00.000Z"), ("nan", None),
    ("text", "naïve \U0001f600"), ("surrogate", "\ud800")])
def test_what_json_makes_of_results(spored, app, which, result):
    assert spored.result(app("results"), which) == result


@pytest.mark.parametrize("which, text", [
    ("big", "BigInt"), ("loop", "circular"), ("throws", "in toJSON")])
def test_results_that_are_no_json(spored, app, which, text):
    error = spored.failure(app("results"), which)
    assert error["type"] == "Runtime.MarshalError" and text in error["message"], error
    assert spored.result(app("results"), "nan") is None, "it goes on serving"


def test_output_is_kept_in_order(spored, app):
    spored.result(app("speak"))
    done = spored.cli("logs", app("speak"))
    for line in ("to stdout", "formatted and 5 { a: 1 }", "raw", "to stderr"):
        assert line in done.out, done
    assert done.out.index("to stdout") < done.out.index("formatted") < done.out.index("raw")


def test_output_before_an_exit_is_not_lost(spored, app):
    error = spored.failure(app("shout"), 3000)
    assert error["type"] == "Runtime.ExitError" and "3" in error["message"], error
    assert spored.cli("logs", app("shout")).out.count("x" * 99) == 3000


@pytest.mark.parametrize("handler, kind, text", [
    ("rejected", "Runtime.UnhandledPromiseRejection", "nobody listens"),
    ("thrownLater", "Broken", "in a timer")])
def test_what_nobody_catches_ends_the_instance(spored, app, handler, kind, text):
    for _ in range(2):
        response = spored.invoke(app(handler))
        assert response["error"]["type"] == kind and response["error"]["message"] == text, response
        assert response["start_kind"] == "START_KIND_FORK"


def test_what_the_handler_catches_does_not(spored, app):
    assert spored.result(app("handled")) == ["seen"]


def test_exit_and_timeout(spored, app):
    assert spored.failure(app("exits"), 7)["type"] == "Runtime.ExitError"
    name = app("slow", limits={"timeout_ms": 2000})
    assert spored.failure(name, 60000)["type"] == "Sandbox.Timedout"
    assert spored.result(name, 10) == 2


@pytest.mark.parametrize("files, handler", [
    ({"index.mjs": "export const handler = async () => 'yes';"}, "index.handler"),
    ({"index.js": "export const handler = async () => 'yes';", "package.json": '{"type":"module"}'}, "index.handler"),
    ({"index.mjs": "const value = await Promise.resolve('yes'); export const handler = async () => value;"},
     "index.handler"),
    ({"index.mjs": "import { word } from './src/word.cjs'; import fs from 'node:fs';"
                   "export async function handler() { return fs.existsSync('/var/task') && word; }",
      "src/word.cjs": "exports.word = 'yes';"}, "index.handler"),
    ({"index.cjs": "exports.handler = async () => 'yes';", "package.json": '{"type":"module"}'}, "index.handler"),
    ({"src/deep/app.js": "exports.go = async () => require('../word.js');", "src/word.js": "module.exports = 'yes';"},
     "src/deep/app.go"),
    ({"index.js": "const yes = require('yes'); exports.handler = async () => yes();",
      "node_modules/yes/package.json": '{"main":"lib/main.js"}',
      "node_modules/yes/lib/main.js": "module.exports = () => 'yes';"}, "index.handler"),
    ({"app/index.js": "exports.handler = async () => 'yes';"}, "app.handler"),
    ({"index.js": "exports.handler = async () => (await import('./late.mjs')).default;",
      "late.mjs": "export default 'yes';"}, "index.handler"),
    ({"index.js": "exports.handler = async () => require('./data.json').word;", "data.json": '{"word":"yes"}'},
     "index.handler"),
    ({"index.js": "exports.a = { b: { $c_1: async () => 'yes' } };"}, "index.a.b.$c_1"),
])
def test_modules_of_every_kind(spored, files, handler):
    name = "module" + str(abs(hash(str(files))))
    spored.deploy(name, files, handler, runtime="node")
    assert spored.result(name) == "yes"


@pytest.mark.parametrize("files, kind, text", [
    ({"other.js": ""}, "Runtime.ImportModuleError", "Cannot find module 'index'"),
    ({"index.js": "require('nowhere')"}, "Runtime.ImportModuleError", "Cannot find module 'nowhere'"),
    ({"index.mjs": "import 'nowhere'"}, "Runtime.ImportModuleError", "nowhere"),
    ({"index.js": "let x = ;"}, "Runtime.UserCodeSyntaxError", "/var/task/index.js:1"),
    ({"index.mjs": "let x = ;"}, "Runtime.UserCodeSyntaxError", "Unexpected token"),
    ({"index.js": "exports.other = 1;"}, "Runtime.HandlerNotFound", "'handler' missing on module 'index'"),
    ({"index.js": "exports.handler = 1;"}, "Runtime.HandlerNotFound", "not a function"),
    ({"index.js": "module.exports = null;"}, "Runtime.HandlerNotFound", "missing"),
    ({"index.js": "function f() { throw new RangeError('at load'); } f();"}, "RangeError", "at load"),
    ({"index.js": "throw 'a text';"}, "string", "a text"),
    ({"index.mjs": "throw new RangeError('at load');"}, "RangeError", "at load"),
    ({"index.mjs": "await new Promise(() => {}); export const handler = 1;"}, "Runtime.ImportModuleError", "never"),
    ({"index.mjs": "setTimeout(() => { throw new RangeError('later'); }, 1);"
                   "await new Promise((r) => setTimeout(r, 9999));"}, "RangeError", "later"),
    ({"index.js": "exports.handler = 1;", "package.json": "{"}, None, "package.json"),
])
def test_functions_that_cannot_be_loaded(load_failure, files, kind, text):
    error = load_failure(files)
    assert kind is None or error["type"] == kind, error
    assert text in error["message"], error


def test_source_maps_tell_of_the_sources(spored):
    # One line of output, whose every position is line 7 of greet.ts.
    mapping = json.dumps({"version": 3, "sources": ["greet.ts"], "names": [], "mappings": "AAMA"})
    files = {"index.js": "exports.handler = async () => { throw new Error('mapped'); };\n"
                         "//# sourceMappingURL=index.js.map\n", "index.js.map": mapping}
    spored.deploy("mapped", files, "index.handler", runtime="node")
    assert "greet.ts:7" in spored.failure("mapped")["stack_trace"][0]
    files["other.js"] = files.pop("index.js")
    spored.deploy("mapped-by-option", files, "other.handler", runtime="node",
                  environment={"NODE_OPTIONS": "--enable-source-maps"})
    assert "greet.ts:7" in spored.failure("mapped-by-option")["stack_trace"][0]


@pytest.mark.parametrize("handler", ["index", ".handler", "index.", "../index.handler", "/index.handler",
                                     "index.han dler", "index.1", "a/./b.c", ""])
def test_handlers_that_cannot_be(spored, handler):
    descriptor = ttrpc.sealed_memfd(b"PK\x05\x06" + bytes(18))
    try:
        error = spored.error_of("Functions", "Deploy", {
            "name": "bad", "settings": {"runtime": "node", "handler": handler}}, [descriptor])
    finally:
        os.close(descriptor)
    assert error.code == ttrpc.CODES["INVALID_ARGUMENT"] and error.message.startswith("handler"), error


def test_deploy_and_invoke_by_the_command_line(spored, tmp_path):
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello/index.js").write_text("exports.handler = async (event) => ({ hello: event.name });")
    done = spored.cli("function", "deploy", "cli", "--runtime", "node", "--handler", "index.handler",
                      tmp_path / "hello")
    assert done.code == 0, done
    done = spored.cli("invoke", "cli", "--payload", '{"name":"ada"}', "--trace")
    assert json.loads(done.out) == {"hello": "ada"}
    assert "threads" in done.err and "renew descriptors" in done.err, done
    spored.cli("function", "deploy", "example", "--runtime", "node", "--handler", "index.handler",
               daemon.ROOT / "examples/hello-node")
    assert spored.result("example", {"name": "ada"}) == {"message": "hello, ada"}
    (tmp_path / "one.mjs").write_text("export const handler = async () => 'one file';")
    spored.cli("function", "deploy", "one", "--runtime", "node", "--handler", "one.handler", tmp_path / "one.mjs")
    assert json.loads(spored.cli("invoke", "one").out) == "one file"
    image = [image for image in spored.call("System", "Info")["images"] if image["name"] == "node"][0]
    assert image["state"] == "READY" and image["runtime_version"].count(".") == 2
