#include <algorithm>

#include "zygote/supervisor/runtime.h"

namespace spore {
namespace {

// "-XX:+UseG1GC" and the like.
bool ChoosesCollector(const std::string& option) {
  return option.starts_with("-XX:+Use") && option.ends_with("GC");
}

}  // namespace

// LD_PRELOAD: the host's library must see every thread that is made and every signal mask that is
// set from the program's first instruction on (zygote/sfork/). It takes the variable back out.
//
// -UsePerfData, DisableAttachMechanism   no shared memory in /tmp, nobody to attach
// -UseContainerSupport                   the zygote's cgroup is not the tenant's
// Xmx                                    address space only: a child lowers it to what its memory
//                                        limit allows (zygote/hosts/java/heap_limit.h)
// Xshare                                 with G1 the archive of classes puts objects at the very
//                                        end of the address space, and then nothing can be lowered
// Xms, Min/MaxHeapFreeRatio              a small heap, and compact after the last collection
// CICompilerCount, *GCThreads            every thread is one to make again in each child; more than
//                                        these help a host, not a sandbox of one or two CPUs
// GuaranteedSafepointInterval            the periodic one is always due in a copy, and would come
//                                        in the middle of its first request
// The image's own options come after these, so that they win.
RuntimeStart StartJava(const SupervisorOptions& options) {
  const std::string folder = std::string(kHostDirectory) + "java/";
  std::vector<std::string> words = {
      options.interpreter,
      "-XX:-UsePerfData",
      "-XX:+DisableAttachMechanism",
      "-XX:-UseContainerSupport",
      "-Xms32m",
      "-Xmx10g",
      "-XX:MinHeapFreeRatio=10",
      "-XX:MaxHeapFreeRatio=30",
      "-XX:-ShrinkHeapInSteps",
      "-XX:CICompilerCount=2",
      "-XX:ParallelGCThreads=2",
      "-XX:ConcGCThreads=1",
      "-XX:G1HeapRegionSize=1m",
      "-XX:+UnlockDiagnosticVMOptions",
      "-XX:GuaranteedSafepointInterval=0",
      "-Djava.awt.headless=true",
      "-Dfile.encoding=UTF-8",
  };
  const std::vector<std::string>& own = options.interpreter_options;
  const bool g1 = std::find(own.begin(), own.end(), "-XX:+UseG1GC") != own.end();
  words.emplace_back(g1 ? "-Xshare:off" : "-Xshare:auto");
  if (std::none_of(own.begin(), own.end(), ChoosesCollector))
    words.emplace_back("-XX:+UseSerialGC");
  words.insert(words.end(), own.begin(), own.end());
  words.insert(words.end(), {"-cp", folder + "spore-host.jar:" + folder + "gson.jar",
                             "spore.host.Host", PreloadList(options)});
  return {.arguments = std::move(words),
          .environment = {"LD_PRELOAD=" + folder + "libspore_java.so"}};
}

}  // namespace spore
