#include "daemon/unpack/plain.h"

namespace spore::unpack {

Result<PlainMade> UnpackPlain(int source, int directory, const ImageLimits& limits) {
  FileSource file(source, limits.bytes);
  ImageTree tree(directory, limits.entries);
  ImageArchive archive(tree, limits);
  SPORE_TRY(archive.Add(file, true, false));
  return PlainMade{file.Digest(), archive.bytes(), tree.entries()};
}

}  // namespace spore::unpack
