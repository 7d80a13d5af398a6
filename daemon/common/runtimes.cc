#include "daemon/common/runtimes.h"

#include <algorithm>
#include <cctype>

namespace spore {
namespace {

using Text = std::string_view;

bool IsAscii(char c) {
  return (static_cast<unsigned char>(c) & 0x80) == 0;
}
bool IsDigit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}
bool IsLetter(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' || !IsAscii(c);
}

// A name in a language's source, which may have `extra` beside letters and digits.
bool IsIdentifier(Text name, Text extra = {}) {
  if (name.empty() || IsDigit(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) {
    return IsLetter(c) || IsDigit(c) || extra.find(c) != extra.npos;
  });
}

bool IsAsciiIdentifier(Text name) {
  return IsIdentifier(name) && std::all_of(name.begin(), name.end(), IsAscii);
}

// What a file's name, or part of a module's, is made of: anything that can be found, so a module
// may be called "my-module".
bool IsModulePart(Text part) {
  return !part.empty() && std::none_of(part.begin(), part.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= ' ' || byte == 0x7f || c == '\\' || c == ':';
  });
}

template <typename Check>
bool AllParts(Text text, Text separators, Check check) {
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find_first_of(separators, at), text.size());
    if (!check(text.substr(at, end - at))) return false;
    at = end + 1;
  }
  return true;
}

// Folders may be written with either "." or "/", as Lambda's Python runtime takes them.
bool IsPythonHandler(Text handler) {
  const size_t dot = handler.rfind('.');
  return dot != handler.npos && IsIdentifier(handler.substr(dot + 1)) &&
         AllParts(handler.substr(0, dot), "./", IsModulePart);
}
// "xml.etree.ElementTree".
bool IsPythonModule(Text name) {
  return std::all_of(name.begin(), name.end(), IsAscii) &&
         AllParts(name, ".", [](Text part) { return IsIdentifier(part); });
}

// "src/app.handler": a file, without its suffix, then what it exports; as on Lambda the first dot
// of the last part divides the two, and what follows may lead into objects.
bool IsNodeHandler(Text handler) {
  const size_t slash = handler.rfind('/');
  const size_t name = slash == handler.npos ? 0 : slash + 1;
  const size_t dot = handler.find('.', name);
  if (dot == handler.npos) return false;
  const auto is_folder = [](Text part) {
    return IsModulePart(part) && part != "." && part != "..";
  };
  return AllParts(handler.substr(0, dot), "/", is_folder) &&
         AllParts(handler.substr(dot + 1), ".", [](Text part) { return IsIdentifier(part, "$"); });
}
// "fs/promises", "node:test", "@scope/package", "lodash.merge".
bool IsNodeModule(Text name) {
  return !name.empty() && name[0] != '/' && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return IsAscii(c) && (IsLetter(c) || IsDigit(c) || Text("-./:@").find(c) != Text::npos);
         });
}

// "lib/libhello.so:handle": a file of the function's and the symbol of its handler.
bool IsNativeHandler(Text handler) {
  const size_t colon = handler.rfind(':');
  if (colon == handler.npos || !IsAsciiIdentifier(handler.substr(colon + 1))) return false;
  return AllParts(handler.substr(0, colon), "/",
                  [](Text part) { return IsModulePart(part) && part != "." && part != ".."; });
}
// "libz.so.1", which the dynamic linker looks up, or "/usr/lib/mine/libmine.so".
bool IsNativeLibrary(Text name) {
  return name.find(".so") != name.npos && (name[0] == '/' || name.find('/') == name.npos) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return IsAscii(c) && (IsLetter(c) || IsDigit(c) || Text("-./+").find(c) != Text::npos);
         });
}

// A custom runtime makes of it what it likes.
bool IsProvidedHandler(Text handler) {
  return !handler.empty() && std::none_of(handler.begin(), handler.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= ' ' || byte == 0x7f;
  });
}
bool IsNothing(Text) {
  return false;
}

// "com.example.Handler" or "com.example.Handler$Inner::method".
bool IsJavaName(Text name) {
  return AllParts(name, ".", [](Text part) { return IsIdentifier(part, "$"); });
}
bool IsJavaHandler(Text handler) {
  const size_t colons = handler.find("::");
  if (colons == handler.npos) return IsJavaName(handler);
  return IsJavaName(handler.substr(0, colons)) && IsIdentifier(handler.substr(colons + 2), "$");
}

constexpr RuntimeFacts kRuntimes[] = {
    {.name = "java",
     .interpreter = "/usr/bin/java",
     .handler_form = "package.Class or package.Class::method, as in \"com.example.Handler\"",
     .is_handler = IsJavaHandler,
     .is_preload = IsJavaHandler,
     .library_sets = true,
     .runs_archives = true,
     .lambda_name = "java"},
    {.name = "native",
     .interpreter = "/run/spore/host/native/spore-native-host",
     .handler_form = "file:symbol, as in \"libhello.so:handle\" for handle() in libhello.so",
     .is_handler = IsNativeHandler,
     .is_preload = IsNativeLibrary,
     .runs_programs = true},
    {.name = "node",
     .interpreter = "/usr/bin/node",
     .handler_form =
         "file.function, as in \"index.handler\" for exports.handler in index.js or index.mjs",
     .is_handler = IsNodeHandler,
     .is_preload = IsNodeModule,
     .library_sets = true,
     .measures_loads = true,
     .lambda_name = "nodejs",
     .code_language = "javascript"},
    {.name = "provided",
     .interpreter = "/run/spore/host/provided/spore-provided-host",
     .handler_form = "a word, which the function's bootstrap finds in _HANDLER",
     .is_handler = IsProvidedHandler,
     .is_preload = IsNothing,
     .runs_programs = true,
     .needs_loopback = true,
     .default_handler = "bootstrap"},
    {.name = "python",
     .interpreter = "/usr/bin/python3",
     .handler_form = "module.function, as in \"app.handler\" for handler() in app.py",
     .is_handler = IsPythonHandler,
     .is_preload = IsPythonModule,
     .is_warm_up = IsPythonHandler,
     .keeps_compiled = true,
     .threads_optional = true,
     .library_sets = true,
     .measures_loads = true,
     .lambda_name = "python",
     .code_language = "python"},
};

}  // namespace

const RuntimeFacts* FindRuntime(Text name) {
  const auto* found = std::find_if(std::begin(kRuntimes), std::end(kRuntimes),
                                   [&](const RuntimeFacts& facts) { return facts.name == name; });
  return found == std::end(kRuntimes) ? nullptr : found;
}

std::string RuntimeNames() {
  std::string names;
  for (const RuntimeFacts& facts : kRuntimes) {
    if (!names.empty()) names += &facts == std::end(kRuntimes) - 1 ? " or " : ", ";
    names += "\"" + std::string(facts.name) + "\"";
  }
  return names;
}

}  // namespace spore
