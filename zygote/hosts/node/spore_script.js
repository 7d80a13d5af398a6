// Runs one script as `node script.js args...` would.
'use strict';

const fs = require('fs');
const Module = require('module');
const path = require('path');

// Worker threads, child_process.fork and relative imports need a script that is a file.
function place(name, text) {
  const file = '/tmp/' + (name === '-' ? '[stdin]' : path.basename(name));
  fs.writeFileSync(file, text);
  return file;
}

exports.run = function run(native) {
  const frame = native.receive();
  if (frame === undefined) native.exitNow(125);
  // From here on the process belongs to the script: no way back to the daemon stays open.
  native.closeChannel();
  const order = JSON.parse(frame[1]);
  Object.assign(process.env, order.environment);
  process.chdir('/tmp');
  const file = place(order.argv[0], order.script);
  process.argv = [process.execPath, file, ...order.argv.slice(1)];
  // With nothing of the host's below it in the stacks that it sees.
  setImmediate(Module.runMain, file);
};
