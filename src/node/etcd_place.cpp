#include "node/etcd_place.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/json.hpp>
#include <filesystem>
#include <set>
#include <string_view>
#include <utility>

#include "crosslink/types.hpp"
#include "node/durable_file.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

namespace json = boost::json;

constexpr std::size_t endpoints_max = 64, excludes_max = 1024, text_bytes_max = 4096;

MirrorError wrong(std::string_view field, std::string_view what) {
  return MirrorError::configuration(fmt::format("{}: {}", field, what));
}

/// Takes fields out of an object, notes the first error, and at the end knows what nobody asked for.
class Fields {
 public:
  explicit Fields(const json::object& from) : from_(&from) {}
  std::optional<std::string> text(std::string_view field) {
    const auto* const value = take(field);
    if (value == nullptr) return std::nullopt;
    if (value->is_string() && value->get_string().size() <= text_bytes_max) return std::string(value->get_string());
    fail(field, "must be a text");
    return std::nullopt;
  }
  std::vector<std::string> texts(std::string_view field, std::size_t count_max) {
    const auto* const value = take(field);
    if (value == nullptr) return {};
    auto read = json::try_value_to<std::vector<std::string>>(*value);
    if (read && read->size() <= count_max) return *std::move(read);
    fail(field, fmt::format("must be a list of at most {} texts", count_max));
    return {};
  }
  /// Absent where there is none.
  std::optional<std::uint64_t> number(std::string_view field, std::int64_t max) {
    const auto* const value = take(field);
    if (value == nullptr) return std::nullopt;
    json::error_code error;
    const auto read = value->to_number<std::uint64_t>(error);
    if (!error && read <= static_cast<std::uint64_t>(max)) return read;
    fail(field, fmt::format("must be a number up to {}", max));
    return std::nullopt;
  }
  Result<void> finish() const {
    if (error_) return *error_;
    for (const auto& [field, value] : *from_) {
      if (!taken_.contains(std::string_view(field))) return wrong(escape(field, 80), "is unknown here");
    }
    return {};
  }

 private:
  const json::value* take(std::string_view field) {
    taken_.insert(field);
    const auto* const value = from_->if_contains(field);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  void fail(std::string_view field, std::string_view what) {
    if (!error_) error_ = wrong(field, what);
  }
  const json::object* from_;
  std::set<std::string_view> taken_;
  std::optional<MirrorError> error_;
};

}  // namespace

std::string to_text(const EtcdPlace& place) {
  const auto keys = !place.prefix           ? std::string("keys as at the source")
                    : place.prefix->empty() ? std::string("all keys")
                                            : "keys " + escape(*place.prefix, 200);
  return fmt::format("etcd {}, {}", escape(joined(place.cluster.endpoints, ","), 400), keys);
}

json::object write_etcd_place(const EtcdPlace& place) {
  const auto& cluster = place.cluster;
  return {{"endpoints", json::value_from(cluster.endpoints)},
          {"prefix", place.prefix ? json::value(*place.prefix) : json::value()},
          {"excludes", json::value_from(place.excludes)},
          {"cacert", cluster.ca_file.string()},
          {"cert", cluster.cert_file.string()},
          {"key", cluster.key_file.string()},
          {"user", cluster.user},
          {"password_file", cluster.password_file.string()},
          {"target_revisions_kept", place.target_revisions_kept ? json::value(*place.target_revisions_kept) : nullptr}};
}

Result<EtcdPlace> read_etcd_place(const json::object& from) {
  Fields fields(from);
  EtcdPlace place;
  place.cluster.endpoints = fields.texts("endpoints", endpoints_max);
  place.prefix = fields.text("prefix");
  place.excludes = fields.texts("excludes", excludes_max);
  place.cluster.ca_file = fields.text("cacert").value_or("");
  place.cluster.cert_file = fields.text("cert").value_or("");
  place.cluster.key_file = fields.text("key").value_or("");
  place.cluster.user = fields.text("user").value_or("");
  place.cluster.password_file = fields.text("password_file").value_or("");
  place.target_revisions_kept = fields.number("target_revisions_kept", target_revisions_kept_max);
  if (auto good = fields.finish(); !good) return good.error();
  return place;
}

Result<void> check_etcd_place(const EtcdPlace& place) {
  const auto& cluster = place.cluster;
  if (cluster.endpoints.empty()) return wrong("endpoints", "at least one is needed, such as http://10.0.0.1:2379");
  if (cluster.endpoints.size() > endpoints_max) return wrong("endpoints", fmt::format("at most {}", endpoints_max));
  const bool tls = cluster.endpoints.front().starts_with("https://");
  for (const auto& endpoint : cluster.endpoints) {
    const std::string_view scheme = tls ? "https://" : "http://";
    const auto rest = endpoint.starts_with(scheme) ? std::string_view(endpoint).substr(scheme.size()) : "";
    if (rest.find(':') == std::string_view::npos)
      return wrong("endpoints", fmt::format("'{}' is not {}HOST:PORT, all of one kind", escape(endpoint, 200), scheme));
  }
  if (!tls && (!cluster.ca_file.empty() || !cluster.cert_file.empty() || !cluster.key_file.empty()))
    return wrong("cacert, cert, key", "are for endpoints that are https://");
  if (cluster.cert_file.empty() != cluster.key_file.empty()) return wrong("cert, key", "one needs the other");
  if (cluster.user.empty() != cluster.password_file.empty()) return wrong("user, password_file", "one needs the other");
  using Named = std::pair<std::string_view, const std::filesystem::path*>;
  for (const auto& [field, file] : {Named{"cacert", &cluster.ca_file}, Named{"cert", &cluster.cert_file},
                                    Named{"key", &cluster.key_file}, Named{"password_file", &cluster.password_file}}) {
    std::error_code error;
    if (!file->empty() && !std::filesystem::is_regular_file(*file, error))
      return wrong(field, fmt::format("there is no file {}", escape(file->string(), 400)));
  }
  for (const auto& [field, file] : {Named{"key", &cluster.key_file}, Named{"password_file", &cluster.password_file}}) {
    if (file->empty()) continue;
    if (const auto good = check_private(*file, "600"); !good) return wrong(field, good.error().message());
  }
  return {};
}

}  // namespace crosslink::node
