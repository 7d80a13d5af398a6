// spore-native-host: the zygote of a native image, and in its children the instance.
//
// Run by the supervisor as `spore-native-host LIBRARY,LIBRARY,...`. Until ServeForks returns, this
// is the zygote: only libraries that the image's operator listed have run. Then it is a child in a
// sandbox of its own, made ahead of its use, still trusted. When AwaitTenant has returned it is
// confined for good, and about to run a tenant's code.
#include <gnu/libc-version.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "sandbox/sys/step_log.h"
#include "zygote/hosts/common/zygote_loop.h"
#include "zygote/hosts/native/function.h"
#include "zygote/hosts/native/library.h"
#include "zygote/hosts/native/program.h"

int main(int argc, char** argv) {
  const uint64_t begin = spore::StepLog::Now();
  if (const std::string failed = spore::Preload(argc > 1 ? argv[1] : ""); !failed.empty()) {
    spore::ReportUnready(failed.c_str());
    return 1;
  }
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
  spore::ServeFunction();
}
