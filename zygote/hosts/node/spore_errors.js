// What a caller is told of an error: {"errorType", "errorMessage", "stackTrace"} (zygote/protocol.h).
'use strict';

const HOST = __dirname;
const MAX_FRAMES = 64;
// Together, with six bytes a character at most, less than the daemon takes.
const MAX_LINE = 1024;
const MAX_MESSAGE = 64 * 1024;

const { stringify } = JSON;

// The handler cannot be had; `name` is the error type that the caller sees.
class LoadError extends Error {
  constructor(name, message, cause) {
    super(message);
    this.name = name;
    if (cause !== undefined) this.stack = stackText(cause);
  }
}

// A lone half of a surrogate pair, which UTF-8 cannot hold, would spoil the whole report.
function sound(text, limit) {
  return text.slice(0, limit).replace(/\p{Surrogate}/gu, '\ufffd');
}

// A tenant's getters, toString and proxies may throw too.
function attempt(read, otherwise) {
  try {
    const value = read();
    return typeof value === 'string' ? value : otherwise;
  } catch {
    return otherwise;
  }
}

function stackText(error) {
  return attempt(() => error.stack, '');
}

// The tenant's part of the stack, innermost first as Node prints it, without what lies below it.
function frames(text) {
  const lines = text.split('\n').filter((line) => /^\s+at /.test(line));
  const own = lines.filter((line) => !line.includes(HOST) && !line.includes('node:internal/'));
  return own.slice(0, MAX_FRAMES).map((line) => sound(line.trim(), MAX_LINE));
}

exports.LoadError = LoadError;
exports.stackText = stackText;

exports.report = function report(kind, message, stack = '') {
  return stringify({
    errorType: sound(kind, MAX_LINE),
    errorMessage: sound(message, MAX_MESSAGE),
    stackTrace: frames(stack),
  });
};

// Anything can be thrown. What is no Error is told as Lambda tells it, by its type and its text.
exports.describe = function describe(error, kind) {
  const isError = error instanceof Error ||
    (typeof error === 'object' && error !== null && attempt(() => error.stack, '') !== '');
  if (!isError) {
    const text = attempt(() => (typeof error === 'object' ? stringify(error) : String(error)), '');
    return exports.report(kind ?? typeof error, text || '<not printable>');
  }
  const name = kind ?? attempt(() => error.name, 'Error');
  return exports.report(name, attempt(() => error.message, ''), stackText(error));
};
