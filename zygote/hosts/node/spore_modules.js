// The image's modules: those that a zygote loads, and which of them a function has loaded.
'use strict';

const Module = require('module');
const path = require('path');
const { pathToFileURL } = require('url');

// What only an `import` can load, or a `require` of a Node that is newer.
const ONLY_ESM = 'ERR_REQUIRE_ESM';

async function loadOne(name) {
  try {
    require(name);
  } catch (error) {
    if (error?.code !== ONLY_ESM) throw error;
    await import(pathToFileURL(require.resolve(name)));
  }
}

// As `import` has it too, so that a function which says that does not read the whole file again to find the names of
// its exports. Not everything can be imported: what was loaded is there in any case.
async function importAsWell(name) {
  const file = require.resolve(name);
  if (!path.isAbsolute(file) || Module._cache[file] === undefined) return;
  try {
    await import(pathToFileURL(file));
  } catch {
    // JSON, for one.
  }
}

// In a zygote. Returns what loading took, in nanoseconds; failed(name, error) for one that cannot be loaded.
exports.load = async function load(names, nanoseconds, failed) {
  const began = nanoseconds();
  for (const name of names) {
    try {
      await loadOne(name);
    } catch (error) {
      failed(name, error);
    }
  }
  const took = nanoseconds() - began;
  for (const name of names) await importAsWell(name);
  return took;
};

// Of Node's own, which functions may be the first to use.
const isBuiltin = (name) => Module.builtinModules.includes(name.replace(/^node:/, ''));
const isBuiltinLoaded = (name) => process.moduleLoadList.includes('NativeModule ' + name.replace(/^node:/, ''));

// Those of `names` that have been loaded from where the image has them: a package of the same name among the function's
// own files is another. Of modules that were loaded by `import` and are no CommonJS nobody can tell.
exports.loaded = function loaded(names) {
  return names.filter((name) => {
    try {
      return isBuiltin(name) ? isBuiltinLoaded(name) : Module._cache[require.resolve(name)]?.loaded === true;
    } catch {
      return false;  // the image has none
    }
  });
};

exports.isBuiltin = isBuiltin;
exports.isBuiltinLoaded = isBuiltinLoaded;
