// spore-zygote: builds an image's world and supervises its zygote and sandboxes; or branches a
// session, puts one on disk, or brings one back from there. spored starts it.
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstring>

#include "zygote/branch/branch.h"
#include "zygote/checkpoint/checkpoint_session.h"
#include "zygote/checkpoint/restore_session.h"
#include "zygote/supervisor/launch.h"
#include "zygote/supervisor/options.h"
#include "zygote/supervisor/supervise.h"

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "branch") == 0) return spore::BranchMain();
  if (argc > 1 && strcmp(argv[1], "checkpoint") == 0)
    return spore::CheckpointMain(argc - 1, argv + 1);
  if (argc > 1 && strcmp(argv[1], "restore") == 0) return spore::RestoreMain(argc - 1, argv + 1);
  spore::Result<spore::SupervisorOptions> options = spore::ParseSupervisorOptions(argc, argv);
  if (!options) {
    fprintf(stderr, "spore-zygote: %s\n", options.error().Message().c_str());
    return 2;
  }
  // spored's own is 0077. Here files are made for others: the image's /etc is read by the zygote,
  // which is not the host's root, and tenants inherit the mask and expect the usual one.
  umask(0022);
  // They came through an exec and so without close-on-exec; nothing but us may keep them.
  for (const int fd : {options->supervisor_fd, options->zygote_fd}) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
      perror("spore-zygote: descriptors from spored");
      return 2;
    }
  }
  return spore::Launch(*options, [&] { return spore::Supervise(*options); });
}
