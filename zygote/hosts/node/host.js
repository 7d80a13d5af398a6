// The Node host: the zygote of an image, and in its children the instance.
//
// Run by the image's own interpreter as `node host.js MODULE,MODULE,...`. Until serveForks returns,
// this is the zygote: only modules that the image's operator listed have run. serveForks returns in
// a child that is confined for good and about to run a tenant's code.
'use strict';

function nanoseconds() {
  const [seconds, rest] = process.hrtime();
  return seconds * 1e9 + rest;
}

const started = nanoseconds();
const native = require('./spore_native.js');
const renew = require('./spore_renew.js');
const functions = require('./spore_function.js');
const script = require('./spore_script.js');

const MODE_FUNCTION = 1;

function giveUp(reason) {
  native.reportUnready(reason);
  process.exit(1);
}

function reasonOf(error) {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

// Requires what the image lists; an image that cannot keep its promise says so and ends.
async function preload(names) {
  for (const name of names) {
    try {
      try {
        require(name);
      } catch (error) {
        if (error?.code !== 'ERR_REQUIRE_ESM') throw error;
        await import(require('url').pathToFileURL(require.resolve(name)));
      }
    } catch (error) {
      giveUp(`preload ${name}: ${reasonOf(error)}`);
    }
  }
}

// When that began of which `elapsed` tells the age, all in nanoseconds: between these two.
function originWindow(elapsed) {
  const before = nanoseconds();
  const age = elapsed();
  return [before - age - 2, nanoseconds() - age + 2];
}

// Blocks for good. Called from the event loop with nothing below it, and so in every child.
function serveForks(server) {
  let mode;
  try {
    const preloadUs = (nanoseconds() - started) / 1e3;
    for (let left = native.noteRandom(renew.randomOutputs()); left > 0; --left) Math.random();
    mode = native.serveForks(process.version.slice(1), preloadUs, performance.timeOrigin,
      ...originWindow(() => performance.now() * 1e6), ...originWindow(() => process.uptime() * 1e9),
      ...functions.rehearsal(__dirname));
  } catch (error) {
    giveUp(error.message);
  }
  renew.inChild();
  if (mode === MODE_FUNCTION) return server.start();
  server.withdraw();
  script.run(native);
}

async function main() {
  renew.keepFromIdleWork();
  if (!renew.findGenerators(native)) giveUp('V8\'s random number generator is not where it was in versions known');
  renew.countCachedRandomness();
  const names = (process.argv[2] ?? '').split(',').filter(Boolean);
  const onUncaught = (error) => giveUp(reasonOf(error));
  process.on('uncaughtException', onUncaught);
  await preload(names);
  await functions.warmUp(__dirname);
  renew.collectGarbage();
  renew.inChild();  // for the compiler; nothing is to be done yet
  await functions.warmUp(__dirname);  // again, since a collection empties V8's caches too
  process.removeListener('uncaughtException', onUncaught);
  renew.prepare(__dirname);
  setImmediate(serveForks, new functions.Server(native));
}

main().catch((error) => giveUp(reasonOf(error)));
