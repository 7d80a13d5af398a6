#include "tools/spore/zygote_tree.h"

#include <fmt/format.h>

#include <vector>

#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

using Zygotes = std::vector<const v1::Zygote*>;

class TreePrinter {
 public:
  explicit TreePrinter(const v1::ListZygotesResponse& response) {
    for (const v1::Zygote& zygote : response.zygotes()) all_.push_back(&zygote);
  }

  void Print() {
    for (const v1::Zygote* zygote : all_) {
      if (!zygote->set().empty()) continue;
      Add(zygote->image(), *zygote);
      AddChildren(*zygote, "");
    }
    table_.Print();
  }

 private:
  Zygotes ChildrenOf(const v1::Zygote& zygote) const {
    Zygotes children;
    for (const v1::Zygote* other : all_) {
      const bool same =
          other->image() == zygote.image() && other->generation() == zygote.generation();
      if (same && !other->set().empty() && other->parent() == zygote.set())
        children.push_back(other);
    }
    return children;
  }

  void AddChildren(const v1::Zygote& zygote, const std::string& indent) {
    // One that is ending has no children of its own: they are its successor's.
    if (!zygote.set().empty() && zygote.state() == v1::Zygote::DRAINING) return;
    const Zygotes children = ChildrenOf(zygote);
    for (const v1::Zygote* child : children) {
      const bool last = child == children.back();
      Add(indent + (last ? "`- " : "|- ") + child->set(), *child);
      AddChildren(*child, indent + (last ? "   " : "|  "));
    }
  }

  void Add(const std::string& name, const v1::Zygote& zygote) {
    const bool set = !zygote.set().empty();
    const bool there = zygote.state() != v1::Zygote::ABSENT;
    const auto bytes = [](uint64_t value) { return value == 0 ? "-" : HumanBytes(value); };
    table_.Add(
        {name, StateName(zygote.state()), zygote.pid() == 0 ? "-" : fmt::format("{}", zygote.pid()),
         there ? HumanAge(zygote.started_unix_ms()) : "-",
         set ? fmt::format("{:.1f}", zygote.recent_starts()) : "-",
         there ? fmt::format("{}", zygote.forks()) : "-",
         there ? fmt::format("{}", zygote.sandboxes_ready()) : "-",
         !set || zygote.import_us() == 0 ? "-" : HumanMicroseconds(zygote.import_us()),
         set ? bytes(zygote.unique_bytes()) : "-", bytes(zygote.memory_bytes()), zygote.reason()});
  }

  Zygotes all_;
  Table table_{{{"ZYGOTE"},
                {"STATE"},
                {"PID", Align::kRight},
                {"AGE", Align::kRight},
                {"WANTED", Align::kRight},
                {"FORKS", Align::kRight},
                {"READY", Align::kRight},
                {"SAVES", Align::kRight},
                {"ADDS", Align::kRight},
                {"MEMORY", Align::kRight},
                {"WHY NOT"}}};
};

}  // namespace

void PrintZygoteTree(const v1::ListZygotesResponse& response) {
  TreePrinter(response).Print();
}

}  // namespace spore::cli
