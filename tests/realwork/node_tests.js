// Unpacks the files that standard input lists as JSON, {path: text}, and runs one of them in this very
// process: its name is the argument. node:test tells how the tests ended.
'use strict';

const fs = require('fs');
const os = require('os');
const path = require('path');

const place = path.join(os.tmpdir(), 'packages');
for (const [name, text] of Object.entries(JSON.parse(fs.readFileSync(0, 'utf8')))) {
  const file = path.join(place, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
}
require(path.join(place, process.argv[2]));
