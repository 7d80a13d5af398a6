#include "tools/gateway/http_serialize.h"

#include <algorithm>
#include <array>
#include <ctime>

namespace spore::gateway {
namespace {

bool IsToken(char c) {
  const auto u = static_cast<unsigned char>(c);
  if ((u >= '0' && u <= '9') || (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z')) return true;
  return u != 0 && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

const std::string& DateNow() {
  static std::string text;
  static std::time_t of = 0;
  const std::time_t now = std::time(nullptr);
  if (now != of || text.empty()) {
    of = now;
    text = HttpDate(now);
  }
  return text;
}

}  // namespace

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

bool ValidHeader(std::string_view name, std::string_view value) {
  if (name.empty() || !std::all_of(name.begin(), name.end(), IsToken)) return false;
  return std::none_of(value.begin(), value.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return (u < ' ' && c != '\t') || u == 0x7f;
  });
}

std::string HttpDate(int64_t unix_seconds) {
  const auto time = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 64> text;
  // The C locale: nothing here calls setlocale(3).
  const std::size_t size =
      std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return std::string(text.data(), size);
}

void Serialize(const HttpResponse& response, bool keep_alive, bool head_only, std::string* out) {
  const bool bodiless = response.status == 204 || response.status == 304 || response.status < 200;
  out->reserve(out->size() + 512 + response.body.size());
  *out += "HTTP/1.1 ";
  *out += std::to_string(response.status);
  *out += ' ';
  *out += ReasonPhrase(response.status);
  *out += "\r\nDate: ";
  *out += DateNow();
  for (const Header& header : response.headers) {
    if (!ValidHeader(header.name, header.value)) continue;
    *out += "\r\n";
    *out += header.name;
    *out += ": ";
    *out += header.value;
  }
  if (!bodiless) {
    *out += "\r\nContent-Length: ";
    *out += std::to_string(response.body.size());
  }
  *out += keep_alive ? "\r\nConnection: keep-alive\r\n\r\n" : "\r\nConnection: close\r\n\r\n";
  if (!bodiless && !head_only) *out += response.body;
}

}  // namespace spore::gateway
