#include "tools/bench/peers.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace spore::bench {
namespace {

constexpr const char* kPython = "/usr/bin/python3";
using Json = nlohmann::json;

// A bundle whose root is the host's /usr, read-only, with what runc itself proposes beside it.
client::Result<> MakeBundle(const std::string& runc, const std::string& folder) {
  const std::string bundle = folder + "/bundle";
  std::error_code error;
  for (const char* name : {"usr", "proc", "dev", "sys", "tmp"}) {
    std::filesystem::create_directories(bundle + "/rootfs/" + name, error);
    if (error) return client::LocalError("cannot make " + bundle + ": " + error.message());
  }
  for (const char* name : {"bin", "sbin", "lib", "lib64"}) {
    std::filesystem::create_directory_symlink(std::string("usr/") + name,
                                              bundle + "/rootfs/" + name, error);
  }
  auto made = Time({runc, "spec", "--bundle", bundle});
  if (!made) return tl::unexpected(made.error());
  Json spec = Json::parse(ReadFile(bundle + "/config.json"), nullptr, false);
  if (spec.is_discarded()) return client::LocalError("runc spec did not write JSON");
  spec["process"]["terminal"] = false;
  spec["process"]["args"] = {kPython, "-c", "pass"};
  spec["mounts"].push_back({{"destination", "/usr"},
                            {"type", "bind"},
                            {"source", "/usr"},
                            {"options", {"rbind", "ro"}}});
  return WriteFile(bundle + "/config.json", spec.dump());
}

}  // namespace

std::vector<Peer> FindPeers(const std::string& folder, std::vector<std::string>& left_out) {
  std::vector<Peer> candidates;
  candidates.push_back({"python3 itself, no isolation", {kPython, "-c", "pass"}});
  const std::string bwrap = FindProgram("bwrap");
  if (bwrap.empty()) left_out.push_back("bwrap: not installed (Debian package bubblewrap)");
  if (!bwrap.empty()) {
    candidates.push_back({"bwrap",
                          {bwrap, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc",
                           "--dev", "/dev", kPython, "-c", "pass"}});
  }
  const std::string runc = FindProgram("runc");
  if (runc.empty()) left_out.push_back("runc: not installed (Debian package runc)");
  if (!runc.empty()) {
    auto made = MakeBundle(runc, folder);
    if (!made) left_out.push_back("runc: " + made.error().message);
    if (made) {
      candidates.push_back(
          {"runc run",
           {runc, "--root", folder + "/runc", "run", "--bundle", folder + "/bundle", "@ID"},
           /*many=*/true});
    }
  }
  std::vector<Peer> peers;
  for (Peer& peer : candidates) {
    auto tried = TimePeer(peer);
    if (tried) {
      peers.push_back(std::move(peer));
    } else {
      left_out.push_back(peer.name + ": " + tried.error().message);
    }
  }
  return peers;
}

client::Result<double> TimePeer(const Peer& peer) {
  static std::atomic<int> number{0};
  std::vector<std::string> argv = peer.argv;
  for (std::string& word : argv) {
    if (word == "@ID") {
      word = "spore-bench-" + std::to_string(::getpid()) + "-" + std::to_string(number++);
    }
  }
  return Time(argv);
}

}  // namespace spore::bench
