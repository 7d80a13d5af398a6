"""Real programs of others in copies of node: a compiler, a minifier, a validator, parsers; and what
they say is what they say outside."""
import concurrent.futures
import json
import os
import subprocess

import daemon
import pytest

MODULES = "/usr/share/nodejs"  # Debian's, which an interpreter from elsewhere has to be told of

WORK = r'''
const path = require('path'), vm = require('vm'), crypto = require('crypto');
const digest = (value) => crypto.createHash('sha256').update(JSON.stringify(value)).digest('hex');

const SOURCES = {
  '/src/list.ts': `export interface Node<T> { value: T; next?: Node<T>; }
export class List<T> implements Iterable<T> {
  private head?: Node<T>; #size = 0;
  constructor(...values: T[]) { for (const value of values.reverse()) this.push(value); }
  push(value: T): this { this.head = { value, next: this.head }; this.#size++; return this; }
  get size(): number { return this.#size; }
  *[Symbol.iterator](): Iterator<T> { for (let at = this.head; at; at = at.next) yield at.value; }
  map<U>(f: (value: T) => U): List<U> { return new List(...[...this].map(f)); }
}`,
  '/src/shapes.ts': `export enum Kind { Circle = 'circle', Square = 'square' }
type Shape = { kind: Kind.Circle; radius: number } | { kind: Kind.Square; side: number };
export const area = (shape: Shape): number => shape.kind === Kind.Circle ? Math.PI * shape.radius ** 2 : shape.side ** 2;
export async function total(shapes: AsyncIterable<Shape> | Shape[]): Promise<number> {
  let sum = 0; for await (const shape of shapes) sum += area(shape); return sum; }
export namespace Units { export const scale = (n: number, by = 10) => n * by; }`,
  '/src/main.ts': `import { List } from './list'; import { Kind, total, Units } from './shapes';
export async function main(): Promise<string> {
  const list = new List(1, 2, 3).map((n) => ({ kind: Kind.Square as const, side: Units.scale(n) }));
  return \`\${list.size}:\${await total([...list])}\`; }`,
  '/src/wrong.ts': `import { List } from './list'; const a: string = new List(1).size; const b = new List<number>('x'); nowhere();`,
};

function compile(ts) {
  const options = { target: ts.ScriptTarget.ES2020, module: ts.ModuleKind.CommonJS, strict: true, sourceMap: true };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  const outputs = {};
  host.fileExists = (name) => name in SOURCES || fileExists.call(host, name);
  host.readFile = (name) => SOURCES[name] ?? readFile.call(host, name);
  host.getSourceFile = (name, target, ...rest) => name in SOURCES
    ? ts.createSourceFile(name, SOURCES[name], target, true) : getSourceFile.call(host, name, target, ...rest);
  host.writeFile = (name, text) => { outputs[name] = text; };
  host.directoryExists = () => true;
  host.getCurrentDirectory = () => '/src';
  const program = ts.createProgram(Object.keys(SOURCES), options, host);
  program.emit();
  const errors = ts.getPreEmitDiagnostics(program).filter((one) => one.file?.fileName.startsWith('/src/'))
    .map((one) => [one.file.fileName, one.code, ts.flattenDiagnosticMessageText(one.messageText, '\n')]);
  return { outputs, errors };
}

function run(outputs, name) {
  const loaded = {};
  const load = (file) => {
    if (loaded[file]) return loaded[file].exports;
    const module = loaded[file] = { exports: {} };
    const wrapped = vm.runInThisContext(`(function (exports, require, module) {${outputs[file]}\n})`, { filename: file });
    wrapped(module.exports, (other) => load(path.join(path.dirname(file), other) + '.js'), module);
    return module.exports;
  };
  return load(name);
}

const works = {
  async typescript() {
    const { outputs, errors } = compile(require('typescript'));
    return { result: await run(outputs, '/src/main.js').main(), errors, files: Object.keys(outputs).sort(),
             digest: digest(outputs) };
  },
  async terser() {
    const { outputs } = compile(require('typescript'));
    const small = {};
    for (const [name, text] of Object.entries(outputs)) {
      if (name.endsWith('.js')) small[name] = (await require('terser').minify(text, { sourceMap: true, compress: { passes: 3 } })).code;
    }
    return { result: await run(small, '/src/main.js').main(), smaller: JSON.stringify(small).length < JSON.stringify(outputs).length,
             digest: digest(small) };
  },
  async ajv() {
    const Ajv = require('ajv');
    const validate = new Ajv({ allErrors: true }).compile({ type: 'object', required: ['id', 'tags'], properties: {
      id: { type: 'integer', minimum: 1 }, tags: { type: 'array', items: { enum: ['a', 'b'] }, uniqueItems: true },
      mail: { type: 'string', pattern: '^[^@]+@[^@]+$' }, more: { $ref: '#' } } });
    const found = [{ id: 1, tags: ['a'] }, { id: 0, tags: ['a', 'a', 'c'], mail: 'x' }, { id: 2, tags: [], more: {} }, null]
      .map((value) => [validate(value), (validate.errors ?? []).map((one) => (one.dataPath ?? one.instancePath) + one.message)]);
    return found;
  },
  async markdown() {
    const text = Array.from({ length: 300 }, (_, i) => `# Title ${i}\n\n* one *two* **three** \`four\`\n\n> [five](/six "${i}")\n\n| a | b |\n|---|---|\n| ${i} | c |\n\n    code\n`).join('\n');
    const html = require('markdown-it')({ html: true, typographer: true }).render(text);
    return { length: html.length, digest: digest(html) };
  },
  async postcss() {
    const postcss = require('postcss');
    const reverse = () => ({ postcssPlugin: 'reverse', Declaration(node) { if (node.prop === 'color') node.prop = 'background'; },
                             Rule(rule) { rule.selectors = rule.selectors.map((one) => '.all ' + one); } });
    reverse.postcss = true;
    const css = Array.from({ length: 500 }, (_, i) => `.a${i}, .b${i}:hover > p { color: #${(i * 7919 % 4096).toString(16)}; margin: ${i}px }`).join('\n');
    const done = await postcss([reverse()]).process(css, { from: '/x.css', to: '/y.css', map: { inline: false } });
    return { length: done.css.length, digest: digest([done.css, done.map.toString()]) };
  },
};
exports.handler = async (event) => works[event]();
exports.names = Object.keys(works);
'''
NAMES = ["typescript", "terser", "ajv", "markdown", "postcss"]
IMAGES = {
    # All of it loaded in the zygote, 70 MB, and copied; and nothing of it, loaded in each copy.
    "node-tools": 'preload = ["typescript", "terser", "ajv", "markdown-it", "postcss"]',
    "node-bare": "preload = []",
}


@pytest.fixture(scope="module")
def server():
    made = daemon.Spored()
    for image, preload in IMAGES.items():
        (made.directory / "images" / (image + ".toml")).write_text(
            f'runtime = "node"\n{preload}\n[environment]\nNODE_PATH = "{MODULES}"\n')
    with made.running():
        for image in IMAGES:
            made.deploy(image, {"index.js": WORK}, "index.handler", "ISOLATION_INVOCATION", runtime="node", image=image,
                        limits={"memory_bytes": 1 << 30, "timeout_ms": 120000})
        yield made


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """What the same file says under the host's node."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "index.js").write_text(WORK)
    code = ("const { handler, names } = require('./index.js'); (async () => { const all = {};"
            "for (const name of names) all[name] = await handler(name); console.log(JSON.stringify(all)); })();")
    done = subprocess.run(["/usr/bin/node", "-e", code], cwd=folder, capture_output=True, check=True, timeout=300,
                          env={"PATH": os.environ["PATH"], "NODE_PATH": MODULES})
    return json.loads(done.stdout)


def test_all_of_the_work_is_tested(outside):
    assert sorted(outside) == sorted(NAMES)
    assert outside["typescript"]["result"] == outside["terser"]["result"] == "3:1400"
    assert len(outside["typescript"]["errors"]) == 3


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_work_of_others(server, outside, image, name):
    assert server.result(image, name) == outside[name]


@pytest.mark.parametrize("image", IMAGES)
def test_work_side_by_side(server, outside, image):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for name, found in zip(NAMES, pool.map(lambda one: server.result(image, one), NAMES)):
            assert found == outside[name], name
