// Serves a function: loads its handler, then answers one invocation after another.
//
// Frames are zygote/protocol.h's. Everything here runs in the tenant's process; nothing of Spore's
// security depends on it.
'use strict';

const context = require('./spore_context.js');
const errors = require('./spore_errors.js');
const { load, prepare } = require('./spore_load.js');
const { Measure } = require('./spore_measure.js');
const modules = require('./spore_modules.js');

const LOAD = 1, INVOKE = 2;
const RESPONSE = 18, FAILED = 19, FATAL = 20;
const TASK_ROOT = '/var/task';
// A tenant may replace what is global.
const { setImmediate } = globalThis;
const { parse, stringify } = JSON;

function enter(order, root) {
  const { env } = process;
  const given = order.environment ?? {};
  for (const name in given) env[name] = given[name];
  process.chdir(root);
}

// One call of the handler, until it is answered: `answer(type, text)`, once.
class Invocation {
  constructor(order, handler, answer) {
    this.order = order;
    this.handler = handler;
    this.answer = answer;
    this.settled = false;
    this.answered = false;
    this.whenIdle = undefined;  // what to do when the event loop has nothing left
  }

  finish(type, text) {
    if (this.answered) return;
    this.answered = true;
    this.whenIdle = undefined;
    this.answer(type, text);
  }

  fail(error, kind) {
    this.finish(FAILED, errors.describe(error, kind));
  }

  succeed(result) {
    let text;
    try {
      text = stringify(result) ?? 'null';  // of undefined and of functions there is no JSON
    } catch (error) {
      const reason = String(error?.message ?? error);
      return this.finish(FAILED, errors.report('Runtime.MarshalError', `Unable to marshal response: ${reason}`));
    }
    this.finish(RESPONSE, text);
  }

  // The callback of the older form, and context.done. What comes first counts, even if it is told
  // only when the event loop has nothing left.
  settle(error, result, waits) {
    if (this.settled) return;
    this.settled = true;
    if (error !== undefined && error !== null) this.fail(error);
    else if (waits) this.whenIdle = () => this.succeed(result);
    else this.succeed(result);
  }

  run(meta, payload) {
    let event;
    try {
      if (payload === null) throw new SyntaxError('it is not UTF-8');
      event = payload === '' ? null : parse(payload);
    } catch (error) {
      const text = `Unable to unmarshal input: ${error.message}`;
      return this.finish(FAILED, errors.report('Runtime.UnmarshalError', text));
    }
    const given = context.make(this.order, meta, (error, result) => this.settle(error, result));
    const callback = (error, result) =>
      this.settle(error, result, given.callbackWaitsForEmptyEventLoop);
    // As on Lambda, who never answers answers null when nothing is left to do.
    this.whenIdle = () => this.succeed(null);
    let result;
    try {
      const { handler } = this;
      result = handler(event, given, callback);
    } catch (error) {
      return this.fail(error);
    }
    if (typeof result?.then === 'function') {
      result.then((value) => this.succeed(value), (error) => this.fail(error));
    } else if (result !== undefined && this.handler.length < 3) {
      this.succeed(result);
    }
  }
}

// A killed process cannot flush, and process.exit does not: what is printed is written at once.
// Returns what takes that back.
function writeAtOnce(name) {
  const original = Object.getOwnPropertyDescriptor(process, name);
  const restore = () => Object.defineProperty(process, name, original);
  const get = () => {
    restore();
    const stream = original.get.call(process);
    stream._handle?.setBlocking?.(true);
    return stream;
  };
  Object.defineProperty(process, name, { ...original, get });
  return restore;
}

// The handler has closed the request channel. spored ends what has none, and tells why; an exit of
// our own would be told in its place.
function awaitEnd() {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

// Made in the zygote, with all that it needs of the process, so that a child has nothing to set up.
class Server {
  constructor(native) {
    this.native = native;
    this.order = undefined;
    this.handler = undefined;
    this.current = undefined;
    this.next = () => this.serveNext();
    const listeners = {
      uncaughtException: (error, origin) => this.onUncaught(error, origin),
      beforeExit: () => this.onIdle(),
    };
    for (const name in listeners) process.on(name, listeners[name]);
    const restore = [writeAtOnce('stdout'), writeAtOnce('stderr')];
    this.withdraw = () => {
      for (const name in listeners) process.removeListener(name, listeners[name]);
      for (const one of restore) one();
    };
  }

  send(type, text) {
    if (!this.native.send(type, text)) awaitEnd();
  }

  serveNext() {
    const frame = this.native.receive();
    if (frame === undefined || frame[0] !== INVOKE) return this.native.exitNow(1);
    this.current = new Invocation(this.order, this.handler, (type, text) => {
      this.send(type, text);
      // What the handler left behind may go on for a turn; then it waits, as this process does.
      setImmediate(this.next);
    });
    this.current.run(parse(frame[1]), frame[2]);
  }

  // Of no use any more: told, and ended.
  die(text) {
    this.send(FATAL, text);
    this.native.exitNow(1);
  }

  onUncaught(error, origin) {
    if (process.listenerCount('uncaughtException') > 1) return;  // the tenant's own sees to it
    const kind = origin === 'unhandledRejection' ? 'Runtime.UnhandledPromiseRejection' : undefined;
    if (this.current?.answered) {
      process._rawDebug(errors.stackText(error));
      this.native.exitNow(1);
    }
    this.die(errors.describe(error, kind));
  }

  onIdle() {
    if (this.handler === undefined) {
      this.die(errors.report('Runtime.ImportModuleError',
        'Unable to import the handler: its module awaits what never comes'));
    }
    this.current?.whenIdle?.();
  }

  start() {
    const frame = this.native.receive();
    if (frame === undefined) return this.native.exitNow(1);
    this.order = parse(frame[1]);
    process.argv = [process.execPath, this.order.handler];
    const root = this.order.task_root ?? TASK_ROOT;  // elsewhere in a rehearsal only
    enter(this.order, root);
    const measure = this.order.measure ? new Measure(root) : undefined;
    load(this.order.handler, root, (handler) => {
      measure?.end();
      this.handler = measure?.report ?? handler;
      const { watch } = this.order;
      this.native.loaded(watch === undefined ? '' : stringify(modules.loaded(watch)));
      this.serveNext();
    }, (error) => this.die(errors.describe(error)));
  }
}

exports.Server = Server;
exports.writeAtOnce = writeAtOnce;

// As spored sends them, keys in the same order: V8 gives each order a shape of its own, and to make a
// new one takes time.
const WARM_TIMES = 20;
const WARM_META = '{"request_id":"warm","deadline_ms":1700000000000,"arn":"arn:warm"}';
const WARM_EVENT = '{"a": [1, "b"], "c": {"d": 1.5}}';

function warmOrder(folder) {
  return {
    environment: {},
    function_name: 'warm',
    function_version: '0',
    handler: 'spore_warm.handler',
    memory_limit_in_mb: '0',
    mode: 'function',
    task_root: folder,
  };
}

// In place of the addon: hands a server one request, and tells when it is answered.
class Rehearsed {
  constructor(folder, answered) {
    this.frames = [[INVOKE, WARM_META, WARM_EVENT], [LOAD, stringify(warmOrder(folder))]];
    this.answered = answered;
  }
  receive() {
    return this.frames.pop();
  }
  send(type) {
    this.sent = type;
    return true;
  }
  loaded() {}
  // Instead of the end, when there is nothing more to receive.
  exitNow() {
    this.answered(this.sent === RESPONSE);
  }
}

// Does all that a request will do, on a handler of Spore's own (spore_warm.js), and takes it back:
// what a fresh process compiles at the first call is then compiled in the zygote.
exports.warmUp = async function warmUp(folder) {
  const before = new Set(Object.keys(process.env));
  for (let i = 0; i < WARM_TIMES; ++i) {
    let server;
    const fine = await new Promise((resolve) => {
      server = new Server(new Rehearsed(folder, resolve));
      server.start();
    });
    server.withdraw();
    if (!fine) throw new Error('the host cannot answer a request of its own');
    delete require.cache[folder + '/spore_warm.js'];
  }
  for (const name of Object.keys(process.env)) {
    if (!before.has(name)) delete process.env[name];
  }
  process.chdir('/');
  prepare(TASK_ROOT);
};

// The same once more, as a child does it: Load, and Invoke's two parts.
exports.rehearsal = (folder) => [stringify(warmOrder(folder)), WARM_META, WARM_EVENT];
