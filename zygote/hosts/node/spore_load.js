// Finds and loads a function's handler, CommonJS or ES module, by the rules of Lambda's runtime.
'use strict';

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');
const { pathToFileURL } = require('url');
const { LoadError, stackText } = require('./spore_errors.js');

function isFile(name) {
  return fs.statSync(name, { throwIfNoEntry: false })?.isFile() === true;
}

// Whether the nearest package.json makes a .js file an ES module. Of one that is no JSON Node itself
// complains best.
function isModulePackage(file) {
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const name = folder + '/package.json';
    if (isFile(name)) {
      try {
        return JSON.parse(fs.readFileSync(name, 'utf8')).type === 'module';
      } catch {
        return false;
      }
    }
    if (folder === '/') return false;
  }
}

// "src/app.a.b" is the file src/app and what it exports as a.b.
function split(handler) {
  const slash = handler.lastIndexOf('/') + 1;
  const dot = handler.indexOf('.', slash);
  return { name: handler.slice(0, dot), exported: handler.slice(dot + 1) };
}

// The module, or a promise of it.
function loadModule(name, root) {
  const base = path.resolve(root, name);
  const load = createRequire(root + '/spore');
  if (isFile(base)) return load(base);
  if (isFile(base + '.js')) {
    if (!isModulePackage(base)) return load(base + '.js');
    return import(pathToFileURL(base + '.js'));
  }
  if (isFile(base + '.mjs')) return import(pathToFileURL(base + '.mjs'));
  if (isFile(base + '.cjs')) return load(base + '.cjs');
  // A folder with an index.js, or a package in node_modules.
  return load(fs.existsSync(base) ? base : name);
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

// A map beside the file, as compilers write it, makes stacks tell of the sources. NODE_OPTIONS is
// read when a process starts, which this one did long ago.
function enableSourceMaps(name, root) {
  const base = path.resolve(root, name);
  const options = process.env.NODE_OPTIONS ?? '';
  const wanted = /(^|\s)--enable-source-maps(\s|$)/.test(options) ||
    ['.js', '.mjs', '.cjs'].some((suffix) => isFile(base + suffix + '.map'));
  if (wanted) process.setSourceMapsEnabled(true);
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
    enableSourceMaps(name, root);
    module = loadModule(name, root);
  } catch (error) {
    return failed(explain(error, name));
  }
  if (typeof module?.then !== 'function') return done(module);
  module.then(done, (error) => failed(explain(error, name)));
};
