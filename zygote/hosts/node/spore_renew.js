// What a child must not have from the zygote, or as its siblings have it.
'use strict';

// In the zygote, last of all: nothing of the host's own start is left to be seen.
exports.prepare = function prepare(folder) {
  // Programs that a tenant starts shall not be given the host's addon (start of the zygote:
  // zygote/supervisor/runtimes/node.cc). libuv has long read its own.
  delete process.env.LD_PRELOAD;
  delete process.env.UV_USE_IO_URING;
  for (const file of Object.keys(require.cache)) {
    if (file.startsWith(folder + '/')) delete require.cache[file];
  }
  process.mainModule = undefined;
  process.argv = [process.execPath];
  // A sandbox's runtime is always pid 2 (zygote/supervisor/start_zygote.cc); Node has noted the
  // zygote's.
  Object.defineProperty(process, 'pid', { ...Object.getOwnPropertyDescriptor(process, 'pid'), value: 2 });
};
