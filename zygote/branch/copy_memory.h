// Memory, from one stopped process to another.
//
// Both are copies of one zygote, so that most is the same already: the same mappings at the same
// addresses, and pages that neither has written to. The rest is mapped anew and copied. Pages are
// never shared between the two, so each is charged for its own.
#pragma once

#include "zygote/branch/hands.h"
#include "zygote/branch/process_maps.h"
#include "zygote/branch/workbench.h"

namespace spore {

// Whether some of it is of a file in /tmp or /dev/shm, which has to be copied before.
bool MapsTemporaryFiles(const std::vector<Mapping>& source);

// Makes the scratch pages of the target, at a place that neither of them uses.
Result<> MakeScratch(Workbench& target, const std::vector<Mapping>& source,
                     const std::vector<Mapping>& own);
Result<> DropScratch(Workbench& target);

// Makes the target's mappings, `own` (without the scratch pages), those of the source.
// kPrecondition: it has one that cannot be made again, which the error names.
Result<> CopyLayout(const std::vector<Mapping>& source, std::vector<Mapping> own,
                    Workbench& target);
// And its pages.
struct PagesCopied {
  uint64_t bytes = 0;
  Hands hands;  // which may end a little later
};
Result<PagesCopied> CopyPages(pid_t source, const RemoteMemory& from,
                              const std::vector<Mapping>& mappings, const Workbench& target);

}  // namespace spore
