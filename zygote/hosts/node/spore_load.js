// Finds and loads a function's handler, CommonJS or ES module, by the rules of Lambda's runtime.
'use strict';

const fs = require('fs');
const path = require('path');
const Module = require('module');
const { pathToFileURL } = require('url');
const { LoadError, stackText } = require('./spore_errors.js');
const native = require('./spore_native.js');

const { readFileSync, statSync } = fs;
const QUIET = { throwIfNoEntry: false };
// Bits of native.lookForModule, and what lies above them (task_files.h).
const HAS_SOURCE_MAP = 2, IS_LINK = 4, HAS_PACKAGE = 8, SUFFIX_SHIFT = 4;
const SUFFIXES = ['.js', '', '.mjs', '.cjs'];

// What the nearest package.json makes of a .js file: "module", "commonjs", or "broken". Of the last
// Node itself complains best.
function packageType(file) {
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const name = folder === '/' ? '/package.json' : folder + '/package.json';
    if (statSync(name, QUIET) !== undefined) {
      try {
        return JSON.parse(readFileSync(name, 'utf8')).type === 'module' ? 'module' : 'commonjs';
      } catch {
        return 'broken';
      }
    }
    if (folder === '/') return 'commonjs';
  }
}

// A require that finds what is below `root`, and the folders of packages that a module right there
// looks into. Made in the zygote for the usual one.
const places = new Map();
function placeOf(root) {
  let made = places.get(root);
  if (made === undefined) {
    made = { require: Module.createRequire(root + '/spore'), paths: Module._nodeModulePaths(root) };
    places.set(root, made);
  }
  return made;
}

// require(file) for the usual case, a CommonJS file that is no link to one elsewhere: what the long way asks the file
// system, to find the file and its kind, is known. It costs a fifth of a fresh start.
function requirePlain(file, root) {
  const place = placeOf(root);
  if (Module._cache[file] !== undefined) return place.require(file);
  const module = new Module(file, null);
  module.filename = file;
  const isInRoot = file.lastIndexOf('/') === root.length;
  module.paths = isInRoot ? place.paths.slice() : Module._nodeModulePaths(path.dirname(file));
  Module._cache[file] = module;
  try {
    module._compile(native.readText(file) ?? readFileSync(file, 'utf8'), file);
  } catch (error) {
    delete Module._cache[file];
    throw error;
  }
  module.loaded = true;
  return module.exports;
}

// "src/app.a.b" is the file src/app and what it exports as a.b.
function split(handler) {
  const slash = handler.lastIndexOf('/') + 1;
  const dot = handler.indexOf('.', slash);
  return { name: handler.slice(0, dot), exported: handler.slice(dot + 1) };
}

// A map beside the file, as compilers write it, makes stacks tell of the sources. NODE_OPTIONS is
// read when a process starts, which this one did long ago.
function enableSourceMaps(hasOne) {
  const options = process.env.NODE_OPTIONS;
  const wanted = options !== undefined && /(^|\s)--enable-source-maps(\s|$)/.test(options);
  if (wanted || hasOne) process.setSourceMapsEnabled(true);
}

// The module, or a promise of it.
function loadModule(name, root) {
  const isPlain = name.indexOf('.') < 0 && name[0] !== '/' && name.indexOf('//') < 0;
  const base = isPlain ? root + '/' + name : path.resolve(root, name);
  const found = native.lookForModule(base);
  // A folder with an index.js, or a package in node_modules.
  if (found === 0) return placeOf(root).require(fs.existsSync(base) ? base : name);
  const file = base + SUFFIXES[found >> SUFFIX_SHIFT];
  enableSourceMaps((found & HAS_SOURCE_MAP) !== 0);
  let type;
  if (file.endsWith('.mjs')) type = 'module';
  else if (file.endsWith('.js')) type = (found & HAS_PACKAGE) !== 0 ? packageType(file) : 'commonjs';
  if (type === 'module') return import(pathToFileURL(file));
  const plain = type === 'commonjs' && (found & IS_LINK) === 0;
  return plain ? requirePlain(file, root) : placeOf(root).require(file);
}

function explain(error, name) {
  const code = error?.code;
  const first = () => String(error.message).split('\n')[0];
  if (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') {
    return new LoadError('Runtime.ImportModuleError', `Unable to import module '${name}': ${first()}`, error);
  }
  if (error instanceof SyntaxError) {
    // The stack begins with the place, where the source could not be compiled.
    const place = /^(?:file:\/\/)?(\/.*:\d+)$/m.exec(stackText(error));
    const where = place === null ? '' : ` (${place[1]})`;
    const text = `Syntax error in module '${name}': ${first()}${where}`;
    return new LoadError('Runtime.UserCodeSyntaxError', text, error);
  }
  return error;
}

function pick(module, name, exported) {
  const handler = exported.split('.').reduce((object, key) => object?.[key], module);
  if (handler === undefined || handler === null) {
    throw new LoadError('Runtime.HandlerNotFound', `Handler '${exported}' missing on module '${name}'`, null);
  }
  if (typeof handler !== 'function') {
    const text = `Handler '${exported}' of module '${name}' is not a function`;
    throw new LoadError('Runtime.HandlerNotFound', text, null);
  }
  return handler;
}

// Calls loaded(handler) or failed(error): at once, or when the module's promise is settled.
exports.load = function load(handler, root, loaded, failed) {
  const { name, exported } = split(handler);
  const done = (module) => {
    let found;
    try {
      found = pick(module, name, exported);
    } catch (error) {
      return failed(error);
    }
    loaded(found);
  };
  let module;
  try {
    module = loadModule(name, root);
  } catch (error) {
    return failed(explain(error, name));
  }
  if (typeof module?.then !== 'function') return done(module);
  module.then(done, (error) => failed(explain(error, name)));
};

// In the zygote.
exports.prepare = (root) => { placeOf(root); };
