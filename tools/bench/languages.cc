#include "tools/bench/languages.h"

#include <filesystem>

namespace spore::bench {
namespace {

constexpr const char* kNodeCode = "exports.answer = async (event) => event;\n";
constexpr const char* kJavaCode =
    "public class Answer {\n"
    "  public Object answer(Object event) { return event; }\n"
    "}\n";
constexpr const char* kJavaAlone =
    "public class Alone {\n"
    "  public static void main(String[] arguments) {}\n"
    "}\n";

client::Result<std::string> NewFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return client::LocalError("cannot make " + path + ": " + error.message());
  return path;
}

client::Result<Language> Node(const std::string& folder) {
  const std::string node = FindProgram("node");
  if (node.empty()) return client::LocalError("not installed (Debian package nodejs)");
  auto code = NewFolder(folder + "/node");
  if (!code) return tl::unexpected(code.error());
  const std::string alone = folder + "/alone.js";
  for (const auto& [path, text] : {std::pair(*code + "/index.js", kNodeCode), {alone, ""}}) {
    auto written = WriteFile(path, text);
    if (!written) return tl::unexpected(written.error());
  }
  return Language{"node", "index.answer", *code, {"node itself, no isolation", {node, alone}}};
}

client::Result<Language> Java(const std::string& folder) {
  const std::string java = FindProgram("java");
  const std::string javac = FindProgram("javac");
  if (java.empty() || javac.empty())
    return client::LocalError("java or javac not installed (Debian package default-jdk-headless)");
  auto code = NewFolder(folder + "/java");
  if (!code) return tl::unexpected(code.error());
  auto alone = NewFolder(folder + "/java-alone");
  if (!alone) return tl::unexpected(alone.error());
  for (const auto& [path, name, text] : {std::tuple(*code, "/Answer.java", kJavaCode),
                                         std::tuple(*alone, "/Alone.java", kJavaAlone)}) {
    auto written = WriteFile(path + name, text);
    if (!written) return tl::unexpected(written.error());
    auto compiled = Time({javac, "-d", path, path + name});
    if (!compiled) return tl::unexpected(compiled.error());
  }
  return Language{"java",
                  "Answer::answer",
                  *code,
                  {"java itself, no isolation", {java, "-cp", *alone, "Alone"}}};
}

}  // namespace

std::vector<Language> FindLanguages(const std::string& folder, std::vector<std::string>& left_out) {
  std::vector<Language> languages;
  for (const auto& [name, find] : {std::pair("node", &Node), std::pair("java", &Java)}) {
    auto found = find(folder);
    if (found) {
      languages.push_back(std::move(*found));
    } else {
      left_out.push_back(std::string(name) + ": " + found.error().message);
    }
  }
  return languages;
}

}  // namespace spore::bench
