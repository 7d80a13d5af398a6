// The Node host: the zygote of an image, and in its children the instance.
//
// Run by the image's own interpreter as `node host.js MODULE,MODULE,...`. Until serveForks returns,
// this is the zygote: only modules that the image's operator listed have run. serveForks returns in
// copies: one may be told to load more, a library set of that list, and be a zygote too. Any other
// is a child that is confined for good and about to run a tenant's code.
'use strict';

function nanoseconds() {
  const [seconds, rest] = process.hrtime();
  return seconds * 1e9 + rest;
}

const started = nanoseconds();
const native = require('./spore_native.js');
const renew = require('./spore_renew.js');
const functions = require('./spore_function.js');
const modules = require('./spore_modules.js');
const script = require('./spore_script.js');
const session = require('./spore_session.js');

const MODE_FUNCTION = 1, MODE_SESSION = 4;

function giveUp(reason) {
  native.reportUnready(reason);
  process.exit(1);
}

function reasonOf(error) {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

// When that began of which `elapsed` tells the age, all in nanoseconds: between these two.
function originWindow(elapsed) {
  const before = nanoseconds();
  const age = elapsed();
  return [before - age - 2, nanoseconds() - age + 2];
}

// Blocks for good. Called from the event loop with nothing below it, and so in every copy. `age` tells what loading has
// taken, in nanoseconds.
function serveForks(server, age) {
  let became;
  try {
    const preloadUs = age() / 1e3;
    for (let left = native.noteRandom(renew.randomOutputs()); left > 0; --left) Math.random();
    became = native.serveForks(process.version.slice(1), preloadUs, performance.timeOrigin,
      ...originWindow(() => performance.now() * 1e6), ...originWindow(() => process.uptime() * 1e9),
      ...functions.rehearsal(__dirname));
  } catch (error) {
    giveUp(error.message);
  }
  if (typeof became === 'string') {
    server.withdraw();
    return extend(became.split(',').filter(Boolean)).catch((error) => giveUp(reasonOf(error)));
  }
  renew.inChild();
  if (became === MODE_FUNCTION) return server.start();
  server.withdraw();
  if (became === MODE_SESSION) return session.run(native);
  script.run(native);
}

// Loads modules and leaves all as every child is to find it; what loading took, in nanoseconds. An image that cannot
// keep its promise says so and ends.
async function prepare(names) {
  const listeners = {
    uncaughtException: (error) => giveUp(reasonOf(error)),
    beforeExit: () => giveUp('a preloaded module awaits what never comes'),
  };
  for (const name in listeners) process.on(name, listeners[name]);
  renew.countCachedRandomness();
  const took = await modules.load(names, nanoseconds, (name, error) => giveUp(`preload ${name}: ${reasonOf(error)}`));
  await functions.warmUp(__dirname);
  renew.collectGarbage();
  renew.inChild();  // for the compiler; nothing is to be done yet
  await functions.warmUp(__dirname);  // again, since a collection empties V8's caches too
  for (const name in listeners) process.removeListener(name, listeners[name]);
  renew.prepare(__dirname);
  return took;
}

// In a copy that is to be a zygote itself, of a library set: none of a tenant's code has been near. Without a name it
// stays what it was copied from.
async function extend(names) {
  const took = names.length === 0 ? 0 : await prepare(names);
  setImmediate(serveForks, new functions.Server(native), () => took);
}

async function main() {
  renew.keepFromIdleWork();
  if (!renew.findGenerators(native)) giveUp('V8\'s random number generator is not where it was in versions known');
  await prepare((process.argv[2] ?? '').split(',').filter(Boolean));
  setImmediate(serveForks, new functions.Server(native), () => nanoseconds() - started);
}

main().catch((error) => giveUp(reasonOf(error)));
