#include "tools/gateway/sigv4.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>
#include <vector>

#include "tools/gateway/encoding.h"
#include "tools/gateway/text.h"

namespace spore::gateway {
namespace {

constexpr int64_t kMaxSkewSeconds = 15 * 60;
constexpr std::string_view kService = "lambda";

struct Authorization {
  std::string key_id;
  std::string date;  // YYYYMMDD
  std::string region;
  std::string service;
  std::vector<std::string> signed_headers;
  std::string signed_list;  // as it came
  std::string signature;    // bytes

  std::string Scope() const { return date + "/" + region + "/" + service + "/aws4_request"; }
};

SignatureProblem Incomplete(const std::string& what) {
  return {"IncompleteSignatureException",
          "Authorization: " + what +
              "; expected AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/lambda/aws4_request, "
              "SignedHeaders=.., Signature=.."};
}

SignatureProblem Invalid(const std::string& message) {
  return {"InvalidSignatureException", message};
}

std::optional<SignatureProblem> ParseAuthorization(std::string_view text, Authorization* out) {
  text.remove_prefix(std::string_view("AWS4-HMAC-SHA256 ").size());
  std::string credential;
  for (const std::string_view part : Split(text, ',')) {
    const std::string_view item = Trim(part);
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos) return Incomplete("a part without \"=\"");
    const std::string_view name = item.substr(0, equals), value = item.substr(equals + 1);
    if (name == "Credential") {
      credential = value;
    } else if (name == "SignedHeaders") {
      out->signed_list = value;
    } else if (name == "Signature") {
      const auto bytes = FromHex(value);
      if (!bytes || bytes->size() != Digest().size())
        return Incomplete("Signature is not 64 hexadecimal digits");
      out->signature = *bytes;
    }
  }
  const auto scope = Split(credential, '/');
  if (scope.size() != 5 || scope[4] != "aws4_request" || scope[3] != kService)
    return Incomplete("Credential is not KEY/DATE/REGION/lambda/aws4_request");
  out->key_id = scope[0];
  out->date = scope[1];
  out->region = scope[2];
  out->service = scope[3];
  if (out->signature.empty()) return Incomplete("no Signature");
  for (const std::string_view name : Split(out->signed_list, ';'))
    out->signed_headers.emplace_back(name);
  return std::nullopt;
}

// "20130524T000000Z" as seconds since 1970.
std::optional<int64_t> ParseAmzDate(std::string_view text) {
  std::tm parts{};
  const std::string copy(text);
  if (copy.size() != 16) return std::nullopt;
  const char* end = ::strptime(copy.c_str(), "%Y%m%dT%H%M%SZ", &parts);
  if (end == nullptr || *end != 0) return std::nullopt;
  return ::timegm(&parts);
}

// "a=1&b=2" sorted, each part encoded anew. Nothing when it is malformed: that must not pass for an
// empty one, which somebody may have signed.
std::optional<std::string> CanonicalQuery(std::string_view query) {
  if (query.empty()) return std::string();
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string_view part : Split(query, '&')) {
    const std::size_t equals = part.find('=');
    const auto name = PercentDecode(part.substr(0, equals), true);
    const auto value = PercentDecode(
        equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1), true);
    if (!name || !value) return std::nullopt;
    pairs.emplace_back(PercentEncode(*name, false), PercentEncode(*value, false));
  }
  std::sort(pairs.begin(), pairs.end());
  std::string text;
  for (const auto& [name, value] : pairs) {
    if (!text.empty()) text += '&';
    text += name;
    text += '=';
    text += value;
  }
  return text;
}

// Blanks at the ends go, several inside become one.
std::string CanonicalValue(std::string_view value) {
  std::string out;
  for (const char c : Trim(value)) {
    if (c == ' ' && !out.empty() && out.back() == ' ') continue;
    out += c;
  }
  return out;
}

std::string CanonicalHeaders(const HttpRequest& request, const Authorization& authorization) {
  std::string text;
  for (const std::string& name : authorization.signed_headers) {
    text += name;
    text += ':';
    bool first = true;
    for (const Header& header : request.headers) {
      if (header.name != name) continue;
      if (!std::exchange(first, false)) text += ',';
      text += CanonicalValue(header.value);
    }
    text += '\n';
  }
  return text;
}

std::string CanonicalRequest(const HttpRequest& request, const std::string& query,
                             const Authorization& authorization) {
  // Of every service but S3 the path, which is encoded already, is encoded once more.
  return request.method + "\n" + PercentEncode(request.path(), true) + "\n" + query + "\n" +
         CanonicalHeaders(request, authorization) + "\n" + authorization.signed_list + "\n" +
         Hex(Sha256(request.body));
}

Digest SignatureOf(const HttpRequest& request, const std::string& query,
                   const Authorization& authorization, const std::string& secret) {
  const std::string to_sign = "AWS4-HMAC-SHA256\n" + std::string(request.Get("x-amz-date")) + "\n" +
                              authorization.Scope() + "\n" +
                              Hex(Sha256(CanonicalRequest(request, query, authorization)));
  Digest key = HmacSha256("AWS4" + secret, authorization.date);
  key = HmacSha256(Bytes(key), authorization.region);
  key = HmacSha256(Bytes(key), authorization.service);
  key = HmacSha256(Bytes(key), "aws4_request");
  return HmacSha256(Bytes(key), to_sign);
}

// What decides what the request does must have been signed.
std::optional<SignatureProblem> CheckSignedHeaders(const HttpRequest& request,
                                                   const Authorization& authorization) {
  const auto is_signed = [&](std::string_view name) {
    const auto& names = authorization.signed_headers;
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (!is_signed("host")) return Invalid("the header host must be signed");
  for (const Header& header : request.headers) {
    if (header.name.starts_with("x-amz-") && !is_signed(header.name))
      return Invalid("the header " + header.name + " must be signed");
  }
  return std::nullopt;
}

std::optional<SignatureProblem> CheckHead(const HttpRequest& request, const SigningKeys& keys,
                                          int64_t unix_now, Authorization* authorization) {
  if (auto problem = ParseAuthorization(request.Get("authorization"), authorization))
    return problem;
  if (!keys.contains(authorization->key_id)) {
    return SignatureProblem{"UnrecognizedClientException",
                            "The security token included in the request is invalid."};
  }
  const std::string_view date = request.Get("x-amz-date");
  const auto when = ParseAmzDate(date);
  if (!when || !date.starts_with(authorization->date))
    return Incomplete("X-Amz-Date is missing, or not of the credential's day");
  if (*when < unix_now - kMaxSkewSeconds) {
    return Invalid("Signature expired: " + std::string(date) + " is more than 15 minutes ago");
  }
  if (*when > unix_now + kMaxSkewSeconds) {
    return Invalid("Signature not yet current: " + std::string(date) +
                   " is more than 15 minutes ahead; compare the clocks");
  }
  return CheckSignedHeaders(request, *authorization);
}

}  // namespace

std::optional<SignatureProblem> CheckSignatureHead(const HttpRequest& request,
                                                   const SigningKeys& keys, int64_t unix_now) {
  Authorization authorization;
  return CheckHead(request, keys, unix_now, &authorization);
}

std::optional<SignatureProblem> CheckSignature(const HttpRequest& request, const SigningKeys& keys,
                                               int64_t unix_now) {
  Authorization authorization;
  if (auto problem = CheckHead(request, keys, unix_now, &authorization)) return problem;
  const std::string_view stated = request.Get("x-amz-content-sha256");
  if (!stated.empty() && stated != Hex(Sha256(request.body)))
    return Invalid("X-Amz-Content-Sha256 is not that of the body");
  const auto query = CanonicalQuery(request.query());
  if (!query) return Invalid("the query cannot be read");
  const Digest expected =
      SignatureOf(request, *query, authorization, keys.find(authorization.key_id)->second);
  if (EqualInConstantTime(authorization.signature, Bytes(expected))) return std::nullopt;
  return Invalid(
      "The request signature we calculated does not match the signature you provided. Check your "
      "AWS Secret Access Key and signing method. Consult the service documentation for details.");
}

}  // namespace spore::gateway
