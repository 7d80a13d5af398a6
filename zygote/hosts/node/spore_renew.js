// What a child must not have from the zygote, or as its siblings have it.
'use strict';

const crypto = require('crypto');
const v8 = require('v8');
const vm = require('vm');

// crypto.randomUUID and randomInt hand out of caches that they fill now and then. What a preloaded
// module left in one would be every child's.
const UUID_BATCH = 128, INT_BATCH = 1024;
const uses = { randomUUID: 0, randomInt: 0 };
const counted = [];

function count(object, name) {
  const original = object[name];
  const { [name]: wrapper } = {
    [name](...given) {
      uses[name] += 1;
      return original.apply(this, given);
    },
  };
  object[name] = wrapper;
  counted.push(() => { object[name] = original; });
}

// In a zygote, before any module of the image's is loaded.
exports.countCachedRandomness = function countCachedRandomness() {
  count(crypto, 'randomUUID');
  count(crypto, 'randomInt');
  count(Object.getPrototypeOf(crypto.webcrypto), 'randomUUID');
};

// What is left of a batch is used up. An integer may cost more than one draw, so of those a whole
// batch is: in the child, where the cache is then filled again.
function emptyCaches() {
  for (const restore of counted.splice(0)) restore();
  const used = uses.randomUUID % UUID_BATCH;
  for (let i = used; used !== 0 && i < UUID_BATCH; ++i) crypto.randomUUID();
  uses.randomUUID = 0;
}

exports.inChild = function inChild() {
  for (let i = 0; uses.randomInt !== 0 && i < INT_BATCH; ++i) crypto.randomInt(2);
};

// In an interpreter that is a copy of another one that runs, too: what both would draw next.
exports.inCopy = function inCopy(native) {
  const draws = native.reseed();
  try {
    for (let i = 0; i < UUID_BATCH; ++i) crypto.randomUUID();
    for (let i = 0; i < INT_BATCH; ++i) crypto.randomInt(2);
    // Its state is the engine's, and stays: the copies are at different places of one sequence.
    for (let i = 0; i < draws; ++i) Math.random();
  } catch {
    // The code has put others in their place.
  }
};

// V8's generator, from which a new context is seeded (v8_random.h).
exports.findGenerators = function findGenerators(native) {
  for (let attempt = 0; attempt < 10; ++attempt) {
    native.noteGenerators();
    vm.runInNewContext('Math.random()');
    if (native.haveDrawn()) return true;
  }
  return false;
};

// What Math.random gave last, as native.noteRandom needs it (v8_random.h).
exports.randomOutputs = function randomOutputs() {
  return Float64Array.from({ length: 256 }, () => Math.random());
};

// V8 collects garbage some seconds after it has last done so, and to a child of a frozen process
// those have always passed. Between invocations, when it would be of use, nothing runs anyway.
exports.keepFromIdleWork = function keepFromIdleWork() {
  v8.setFlagsFromString('--no-memory-reducer');
};

// Every child would go on with a collection that is under way, its threads with the marking, and so
// copy what that writes to.
exports.collectGarbage = function collectGarbage() {
  v8.setFlagsFromString('--no-flush-bytecode');  // what is compiled is to stay
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc');
  v8.setFlagsFromString('--no-expose-gc');
  collect();
  collect();
  v8.setFlagsFromString('--flush-bytecode');
};

// In the zygote, last of all: nothing of the host's own start is left to be seen.
exports.prepare = function prepare(folder) {
  // Programs that a tenant starts shall not be given the host's addon (start of the zygote:
  // zygote/supervisor/runtimes/node.cc). libuv has long read its own.
  emptyCaches();
  delete process.env.LD_PRELOAD;
  delete process.env.UV_USE_IO_URING;
  for (const file of Object.keys(require.cache)) {
    if (file.startsWith(folder + '/')) delete require.cache[file];
  }
  process.mainModule = undefined;
  process.argv = [process.execPath];
  // A sandbox's runtime is always pid 2 (zygote/supervisor/start_zygote.cc); Node has noted the
  // zygote's, where it does not ask each time.
  const pid = Object.getOwnPropertyDescriptor(process, 'pid');
  if (pid?.value !== undefined) Object.defineProperty(process, 'pid', { ...pid, value: 2 });
};
