// spore-provided-host: the zygote of an image of runtime `provided`, and in its children what
// starts a function's own runtime and answers it over the Runtime API.
//
// Until ServeForks returns, this is the zygote, in which nothing but Spore's code has run. Then it
// is a child in a sandbox of its own, still trusted; when AwaitTenant has returned it is confined
// for good, and about to start a tenant's program.
#include <gnu/libc-version.h>
#include <unistd.h>

#include <cstdio>

#include "sandbox/sys/step_log.h"
#include "zygote/hosts/common/zygote_loop.h"
#include "zygote/hosts/native/program.h"
#include "zygote/hosts/provided/function.h"

int main() {
  const uint64_t begin = spore::StepLog::Now();
  spore::wire::ZygoteReady ready;
  snprintf(ready.runtime_version, sizeof ready.runtime_version, "glibc %s", gnu_get_libc_version());
  ready.preload_us = (spore::StepLog::Now() - begin) / 1000;
  spore::Result<spore::Unspecialised> child = spore::ServeForks(ready, {});
  if (!child) {
    spore::ReportUnready(child.error().Message().c_str());
    return 1;
  }
  // Leader of a session and a process group of its own: in this pid namespace it has neither.
  setsid();
  if (child->AwaitTenant() == spore::wire::Mode::kProgram) spore::RunProgram();
  spore::ServeProvided();
}
