#include "zygote/hosts/native/json_check.h"

#include <nlohmann/json.hpp>

namespace spore {
namespace {

using nlohmann::json;

class Checker : public nlohmann::json_sax<json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t, const std::string&, const json::exception& error) override {
    problem = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 3: ..".
    if (const size_t mark = problem.find("] "); mark != problem.npos) problem.erase(0, mark + 2);
    return false;
  }

  std::string problem;
};

}  // namespace

std::string JsonProblem(std::string_view text) {
  Checker checker;
  if (json::sax_parse(text, &checker)) return {};
  return checker.problem.empty() ? "not JSON" : checker.problem;
}

}  // namespace spore
