// The interpreter of a session: runs pieces of code one after another, in the global scope.
//
// What comes and goes is in zygote/session_protocol.h and session_interpreter.h. The event loop runs between pieces, too:
// timers and servers that a piece has left behind go on. Pieces are evaluated as DevTools' console does it (V8's REPL
// mode): `await` at the top, and names declared by const, let and class that may be declared again.
'use strict';

const fs = require('fs');
const Module = require('module');
const net = require('net');
const path = require('path');
const util = require('util');
const vm = require('vm');
const { writeAtOnce } = require('./spore_function.js');
const renew = require('./spore_renew.js');

const CHANNEL = 3, HEADER = 16;
const LOAD = 1, INVOKE = 2, LOADED = 17, RESPONSE = 18;
const DATA = 3, FLAGS = 6, VARIABLE = 20, NAME = 34;
const VALUE = 39, AS_JSON = 40, FORM = 41, ERROR_TYPE = 42, ERROR_MESSAGE = 43, ERROR_LINE = 44;
const CUT = 2048n;

const MOST_VALUE = 256 << 10, MOST_JSON = 512 << 10;
const MOST_LINES = 200, MOST_LINE = 1024, MOST_TYPE = 256, MOST_MESSAGE = 16 << 10;
const INSPECT = { depth: 4, breakLength: 100, maxArrayLength: 1000, maxStringLength: MOST_VALUE };
// By which an object offers other forms of itself: Deno's kernel for notebooks asks for the same.
const DISPLAY = Symbol.for('Jupyter.display');
// Where pieces of code find what they need of this module.
const PLACE = Symbol.for('spore.session');

// At most so many bytes, no character cut in two.
function bounded(text, most) {
  const bytes = Buffer.from(text);
  if (bytes.length <= most) return bytes;
  let end = most;
  while (end > 0 && (bytes[end] & 0xc0) === 0x80) --end;
  return bytes.subarray(0, end);
}

function field(tag, bytes) {
  const head = Buffer.alloc(6);
  head.writeUInt16LE(tag, 0);
  head.writeUInt32LE(bytes.length, 2);
  return Buffer.concat([head, bytes]);
}

function number(tag, value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return field(tag, bytes);
}

function* fields(body) {
  for (let at = 0; at + 6 <= body.length;) {
    const length = body.readUInt32LE(at + 2);
    yield [body.readUInt16LE(at), body.subarray(at + 6, at + 6 + length)];
    at += 6 + length;
  }
}

// JSON, where that says what the value is; of a Map or of a number that JSON does not have it would not.
function asJson(value) {
  if (typeof value === 'number' && !Number.isFinite(value)) return undefined;
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && typeof value.toJSON !== 'function') {
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return undefined;
  }
  try {
    const text = JSON.stringify(value);
    return text !== undefined && Buffer.byteLength(text) <= MOST_JSON ? Buffer.from(text) : undefined;
  } catch {
    return undefined;  // circular, or with a BigInt in it
  }
}

function forms(value) {
  let made;
  try {
    made = value?.[DISPLAY]?.() ?? {};
  } catch {
    return [];
  }
  const list = [];
  let left = MOST_JSON;
  for (const [type, given] of Object.entries(made)) {
    // As in Jupyter's messages, where images are base64.
    const isImage = /^image\/(?!svg)/.test(type);
    const data = typeof given === 'string' ? Buffer.from(given, isImage ? 'base64' : 'utf8') : given;
    if (!(data instanceof Uint8Array) || data.length > left) continue;
    left -= data.length;
    list.push(field(FORM, Buffer.concat([field(NAME, bounded(type, MOST_TYPE)), field(DATA, data)])));
  }
  return list;
}

function describeValue(value) {
  if (value === undefined) return [];
  const text = util.inspect(value, INSPECT);
  const bytes = bounded(text, MOST_VALUE);
  const list = [field(VALUE, bytes), number(FLAGS, Buffer.byteLength(text) > MOST_VALUE ? CUT : 0n)];
  const json = asJson(value);
  if (json !== undefined) list.push(field(AS_JSON, json));
  return list.concat(forms(value));
}

// A piece's getters and proxies may throw.
function attempt(read, otherwise) {
  try {
    const value = read();
    return typeof value === 'string' ? value : otherwise;
  } catch {
    return otherwise;
  }
}

// Without what lies below the piece.
function stackLines(error) {
  const lines = attempt(() => error.stack, '').split('\n');
  const end = lines.findIndex((line) => line.includes('(node:inspector:') || line.includes(__dirname));
  const own = end < 0 ? lines : lines.slice(0, end);
  return own.length <= MOST_LINES ? own
    : [...own.slice(0, MOST_LINES / 2), '    ..', ...own.slice(-MOST_LINES / 2)];
}

function describeError(error, place) {
  const isError = util.types.isNativeError(error) || attempt(() => error.stack, '') !== '';
  const type = isError ? attempt(() => error.name, 'Error') : typeof error;
  const text = () => (typeof error === 'string' ? error : util.inspect(error, INSPECT));
  const message = attempt(isError ? () => error.message : text, '');
  const lines = isError ? stackLines(error) : [];
  if (place !== undefined) lines.push(`    at ${place}`);
  return [field(ERROR_TYPE, bounded(type, MOST_TYPE)), field(ERROR_MESSAGE, bounded(message, MOST_MESSAGE)),
    ...lines.map((line) => field(ERROR_LINE, bounded(line, MOST_LINE)))];
}

const INTERRUPTED = [field(ERROR_TYPE, Buffer.from('Interrupted')),
  field(ERROR_MESSAGE, Buffer.from('interrupted by SIGINT'))];

function compiles(text) {
  try {
    new vm.Script(text);
    return true;
  } catch {
    return false;
  }
}

// What a person at a prompt means by `{a: 1}` is no block.
function asExpression(code) {
  return /^\s*\{[^]*\}\s*$/.test(code) && compiles(`(${code}\n)`) ? `(${code}\n)` : code;
}

// V8's REPL mode has no loader for import(), so such a call becomes one of ours. Where the word stands in a string, a
// comment or a regular expression, an "@" in its place would be as good, and nowhere else.
function withImports(code) {
  const inFunction = (text) => compiles(`(async () => {${text}\n})`);
  const found = [...code.matchAll(/(?<![\w$.#])import(?=\s*\()/g)];
  if (found.length === 0 || !inFunction(code)) return code;
  for (const { index } of found.reverse()) {
    const before = code.slice(0, index), after = code.slice(index + 'import'.length);
    if (!inFunction(`${before}@${after}`)) code = `${before}globalThis[Symbol.for('spore.session')].load${after}`;
  }
  return code;
}

// Evaluates pieces. With what V8 tells of values to its inspector, the values themselves.
class Evaluator {
  constructor() {
    const { Session } = require('inspector');
    this.session = new Session();
    this.session.connect();
    // Of a module that would lie in /tmp: what import() and require() find, they find from there.
    const home = new Module('/tmp/code');
    home.filename = '/tmp/code';
    home.paths = Module._nodeModulePaths('/tmp');
    home._compile('module.exports = { load: (name, options) => import(name, options), require }', home.filename);
    this.required = home.exports.require;
    this.place = { begin: undefined, take: (value) => { this.taken = value; }, load: home.exports.load };
    Object.defineProperty(globalThis, PLACE, { value: this.place });
    this.script = new vm.Script(`globalThis[Symbol.for('spore.session')].begin()`, { filename: path.join(__dirname, 'begin') });
    this.post('Runtime.evaluate', { expression: `globalThis[Symbol.for('spore.session')].take`, objectGroup: 'host' },
      (_, answer) => { this.take = answer.result.objectId; });
  }

  post(method, parameters, done) {
    this.session.post(method, parameters, done);
  }

  valueOf({ objectId, unserializableValue, value }) {
    const given = objectId !== undefined ? { objectId }
      : unserializableValue !== undefined ? { unserializableValue } : { value };
    this.taken = undefined;
    this.post('Runtime.callFunctionOn',
      { functionDeclaration: 'function (value) { this(value); }', objectId: this.take, arguments: [given] }, () => {});
    const { taken } = this;
    this.taken = undefined;
    return taken;
  }

  // Calls begun(), and one of done(value), failed(error, place), interrupted(), at once or later. SIGINT may come from
  // begun() on: Node's watchdog ends what runs then, and what is awaited is left to who listens to it. (Between the two
  // lies a moment in which it ends the process, as Node has it.)
  run(code, name, { begun, done, failed, interrupted }) {
    const expression = `${withImports(asExpression(code))}\n//# sourceURL=${name}`;
    const answered = (error, answer) => {
      if (error) return failed(Object.assign(new Error(error.message), { stack: '' }));
      const { exceptionDetails: details, result } = answer;
      if (details === undefined) return done(this.valueOf(result));
      const thrown = details.exception === undefined ? new Error(details.text) : this.valueOf(details.exception);
      // Of what could not be compiled the stack does not say where.
      const isPlaced = !(thrown instanceof SyntaxError) || stackLines(thrown).some((line) => line.includes(`at ${name}:`));
      failed(thrown, isPlaced ? undefined : `${name}:${details.lineNumber + 1}:${details.columnNumber + 1}`);
    };
    this.place.begin = () => {
      begun();
      this.post('Runtime.evaluate', { expression, replMode: true, objectGroup: 'piece' }, answered);
    };
    try {
      this.script.runInThisContext({ breakOnSigint: true });
    } catch (error) {
      if (error?.code === 'ERR_SCRIPT_EXECUTION_INTERRUPTED') interrupted();
      else failed(error);
    }
  }

  release() {
    this.post('Runtime.releaseObjectGroup', { objectGroup: 'piece' }, () => {});
  }
}

class Interpreter {
  constructor(native) {
    this.native = native;
    this.evaluator = undefined;
    this.current = undefined;  // the piece that is not answered yet
    this.received = Buffer.alloc(0);
    this.shown = undefined;  // what `_` was made
    process.on('SIGINT', () => this.interrupted(this.current));
    // As in any prompt: told, and the state is kept.
    process.on('uncaughtException', (error) => {
      if (process.listenerCount('uncaughtException') > 1) return;  // a piece's own sees to it
      const lines = stackLines(error).join('\n');
      process.stderr.write(`Uncaught ${lines || attempt(() => util.inspect(error, INSPECT), 'error')}\n`);
    });
  }

  start() {
    const socket = new net.Socket({ fd: CHANNEL, readable: true, writable: true });
    socket.on('data', (data) => this.take(data));
    socket.on('close', () => this.native.exitNow(0));
    socket.on('error', () => this.native.exitNow(0));
  }

  take(data) {
    this.received = Buffer.concat([this.received, data]);
    while (this.received.length >= HEADER) {
      const end = HEADER + this.received.readUInt32LE(4);
      if (this.received.length < end) return;
      const frame = this.received.subarray(0, end);
      this.received = this.received.subarray(end);
      const body = frame.subarray(HEADER);
      if (frame.readUInt32LE(0) === INVOKE) this.run(frame.readBigUInt64LE(8), body.toString());
      else this.load(frame.readUInt32LE(0), body);
    }
  }

  load(type, body) {
    if (type !== LOAD) this.native.exitNow(125);
    if (this.evaluator !== undefined) return renew.inCopy(this.native);
    for (const [tag, bytes] of fields(body)) {
      const variable = bytes.toString(), equals = variable.indexOf('=');
      if (tag === VARIABLE && equals > 0) process.env[variable.slice(0, equals)] = variable.slice(equals + 1);
    }
    try {
      this.evaluator = new Evaluator();
    } catch (error) {  // a Node.js without an inspector
      process._rawDebug(stackLines(error).join('\n'));
      this.native.exitNow(125);
    }
    const visible = { configurable: true, enumerable: false, writable: true };
    Object.defineProperty(globalThis, 'require', { ...visible, value: this.evaluator.required });
    Object.defineProperty(globalThis, '_', { ...visible, value: undefined });
  }

  // To the agent, which reads whatever it does itself: this process may never come back to its event loop.
  send(type, id, body) {
    const header = Buffer.alloc(HEADER);
    header.writeUInt32LE(type, 0);
    header.writeUInt32LE(body.length, 4);
    header.writeBigUInt64LE(id, 8);
    const bytes = Buffer.concat([header, body]);
    for (let at = 0; at < bytes.length;) {
      try {
        at += fs.writeSync(CHANNEL, bytes, at);
      } catch (error) {
        if (error.code !== 'EAGAIN') this.native.exitNow(0);
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
  }

  run(id, code) {
    const piece = { id };
    this.current = piece;
    this.evaluator.run(code, `code-${id}`, {
      begun: () => this.send(LOADED, id, Buffer.alloc(0)),
      done: (value) => this.answer(piece, () => {
        const described = describeValue(value);
        this.keep(value);
        return described;
      }),
      failed: (error, place) => this.answer(piece, () => describeError(error, place)),
      interrupted: () => this.interrupted(piece),
    });
  }

  // The last value, unless the code has a `_` of its own.
  keep(value) {
    if (value === undefined || globalThis._ !== this.shown) return;
    this.shown = value;
    globalThis._ = value;
  }

  interrupted(piece) {
    if (piece !== undefined) this.answer(piece, () => INTERRUPTED);
  }

  answer(piece, describe) {
    if (this.current !== piece) return;  // it was interrupted, and what it awaited has come
    let described;
    try {
      described = describe();
    } catch (error) {  // of a value that cannot be shown
      described = describeError(error);
    }
    this.evaluator.release();
    this.current = undefined;
    this.send(RESPONSE, piece.id, Buffer.concat(described));
  }
}

exports.run = function run(native) {
  process.chdir('/tmp');
  // Here it is not 2, what Node was told (spore_renew.js).
  const pid = Object.getOwnPropertyDescriptor(process, 'pid');
  if (pid?.value !== undefined)
    Object.defineProperty(process, 'pid', { ...pid, value: Number(fs.readlinkSync('/proc/self')) });
  writeAtOnce('stdout');
  writeAtOnce('stderr');
  // With nothing of the host's below it in the stacks that the code sees.
  const interpreter = new Interpreter(native);
  setImmediate(() => interpreter.start());
};
