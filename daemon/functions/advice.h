// What `spore advise` says: made of what a load of the function has told and of the image's sets.
//
// The report of a measuring load (zygote/hosts/python/spore_measure.py) is JSON:
//   {"load_us": n, "preloaded": [names], "loaded": [names of those that spored asked after],
//    "modules": [{"name", "self_us", "total_us", "memory_bytes", "total_bytes", "own",
//                 "direct": imported by the function itself}, ..]}
// It comes from the tenant's process, and so is checked like any answer of one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/config.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

struct Measurement {
  uint64_t load_us = 0;
  struct Module {
    v1::AdviseResponse::Module said;
    uint64_t total_bytes = 0;
    bool direct = false;
  };
  std::vector<Module> modules;
  std::vector<std::string> preloaded;
  std::vector<std::string> loaded;
};

// Refuses what does not have that shape; cuts what is too much of it.
Result<Measurement> ParseMeasurement(std::string_view report);

// `named`: the library set of the function's settings.
v1::AdviseResponse MakeAdvice(const ImageManifest& image, const Measurement& measured,
                              const std::string& named);

}  // namespace spore
