// Measures what loading a function requires, for `spore advise`: each module's own time and memory. A module here is a
// file of the function's, one of Node's own, or a package with all of its files.
//
// Runs in the tenant's process, as all that it says is the tenant's word in the end.
'use strict';

const Module = require('module');
const modules = require('./spore_modules.js');

const MOST_MODULES = 200;
const MOST_NAMED = 400;

function microseconds() {
  const [seconds, rest] = process.hrtime();
  return seconds * 1e6 + rest / 1e3;
}

const whole = (number) => Math.max(0, Math.round(number));

class Measure {
  // From its making on, until `end`. What ES modules import of each other cannot be seen: they count as the function's.
  constructor(root) {
    this.root = root + '/';
    this.stack = [];
    this.modules = [];
    this.named = new Set();  // what the function's own code asked for and found there already
    this.load = Module._load;
    const measure = this;
    Module._load = function load(...given) { return measure.loadOne(this, given); };
    this.report = this.report.bind(this);
    this.began = microseconds();
  }

  isOwn(file) {
    return typeof file === 'string' && file.startsWith(this.root);
  }

  // What is about to be loaded, if it counts for itself; undefined where it is there, or one of the files of a package
  // that is being loaded.
  entryOf(request, parent) {
    const builtin = modules.isBuiltin(request);
    const file = builtin ? request : Module._resolveFilename(request, parent, false);
    const bare = builtin || !/^[./]/.test(request);
    if (builtin ? modules.isBuiltinLoaded(request) : Module._cache[file] !== undefined) {
      const byOwn = parent === null || this.isOwn(parent?.filename);
      if (bare && byOwn && this.named.size < MOST_NAMED) this.named.add(request);
      return undefined;
    }
    const own = this.isOwn(file);
    if (!bare && !own && !request.startsWith('/')) return undefined;
    const name = bare ? request : own ? file.slice(this.root.length).replace(/\.[^./]+$/, '') : this.nameOf(file);
    return { name, own, direct: this.stack.at(-1)?.own ?? true, inner: 0, innerBytes: 0 };
  }

  // Of a file that an ES module has imported: the package's name where the image finds it by that.
  nameOf(file) {
    const folder = Module.globalPaths.find((one) => file.startsWith(one + '/'));
    if (folder === undefined) return file.slice(1);
    const rest = file.slice(folder.length + 1);
    const name = rest.split('/', rest[0] === '@' ? 2 : 1).join('/');
    try {
      return require.resolve(name) === file ? name : rest;
    } catch {
      return rest;
    }
  }

  loadOne(receiver, given) {
    let entry;
    try {
      entry = this.entryOf(given[0], given[1]);
    } catch {
      // Not to be found: the load says so.
    }
    if (entry === undefined) return this.load.apply(receiver, given);
    this.stack.push(entry);
    const bytes = process.memoryUsage.rss();
    const began = microseconds();
    try {
      return this.load.apply(receiver, given);
    } finally {
      entry.took = microseconds() - began;
      entry.grew = Math.max(0, process.memoryUsage.rss() - bytes);
      this.stack.pop();
      const outer = this.stack.at(-1);
      if (outer !== undefined) {
        outer.inner += entry.took;
        outer.innerBytes += entry.grew;
      }
      this.modules.push(entry);
    }
  }

  end() {
    this.took = microseconds() - this.began;
    Module._load = this.load;
  }

  // In the handler's place.
  report(event) {
    const dearest = this.modules.sort((a, b) => (b.took - b.inner) - (a.took - a.inner));
    return {
      load_us: whole(this.took),
      modules: dearest.slice(0, MOST_MODULES).map((entry) => ({
        name: entry.name,
        self_us: whole(entry.took - entry.inner),
        total_us: whole(entry.took),
        memory_bytes: whole(entry.grew - entry.innerBytes),
        total_bytes: whole(entry.grew),
        own: entry.own,
        direct: entry.direct,
      })),
      preloaded: [...this.named].sort(),
      loaded: modules.loaded(event?.watch ?? []),
    };
  }
}

exports.Measure = Measure;
