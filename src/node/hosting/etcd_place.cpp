#include "node/hosting/etcd_place.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/asio/ip/address.hpp>
#include <boost/json.hpp>
#include <set>
#include <string_view>

#include "crosslink/types.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

namespace json = boost::json;

constexpr std::size_t endpoints_max = 64, excludes_max = 1024, text_bytes_max = 4096;

MirrorError wrong(std::string_view field, std::string_view what) {
  return MirrorError::configuration(fmt::format("{}: {}", field, what));
}

/// Takes fields out of an object, notes the first error, and at the end knows what was not asked for.
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
  bool flag(std::string_view field) {
    const auto* const value = take(field);
    if (value == nullptr) return false;
    if (!value->is_bool()) fail(field, "must be true or false");
    return value->is_bool() && value->get_bool();
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

/// Of http://HOST:PORT: is it this machine?
bool is_loopback(std::string_view endpoint) {
  auto host = endpoint.substr(endpoint.find("://") + 3);
  host = host.substr(0, host.rfind(':'));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") return true;
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(std::string(host), error);
  return !error && address.is_loopback();
}

}  // namespace

std::string to_text(const EtcdPlace& place) {
  const auto keys = !place.prefix           ? std::string("keys as at the source")
                    : place.prefix->empty() ? std::string("all keys")
                                            : "keys " + escape(*place.prefix, 200);
  return fmt::format("etcd {}, {}", escape(joined(place.cluster.endpoints, ","), 400), keys);
}

json::object write_etcd_place(const EtcdPlace& place) {
  const auto& cluster = place.cluster;
  json::object written{
      {"endpoints", json::value_from(cluster.endpoints)},
      {"prefix", place.prefix ? json::value(*place.prefix) : json::value()},
      {"excludes", json::value_from(place.excludes)},
      {"cacert", cluster.ca_file.string()},
      {"cert", cluster.cert_file.string()},
      {"key", cluster.key_file.string()},
      {"user", cluster.user},
      {"password_file", cluster.password_file.string()},
      {"target_revisions_kept", place.target_revisions_kept ? json::value(*place.target_revisions_kept) : nullptr}};
  // Versions that do not know it can read what does not need it.
  if (place.password_in_clear) written["allow_password_in_clear"] = true;
  return written;
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
  place.password_in_clear = fields.flag("allow_password_in_clear");
  if (auto good = fields.finish(); !good) return good.error();
  return place;
}

Result<void> check_etcd_place(const EtcdPlace& place) {
  const auto& cluster = place.cluster;
  if (cluster.endpoints.empty()) return wrong("endpoints", "at least one is needed, such as http://10.0.0.1:2379");
  if (cluster.endpoints.size() > endpoints_max) return wrong("endpoints", fmt::format("at most {}", endpoints_max));
  if (const auto twice = twice_in(cluster.endpoints, Case::is_ignored))
    return wrong("endpoints", fmt::format("'{}' is there twice", escape(*twice, 200)));
  if (const auto twice = twice_in(place.excludes, Case::counts))
    return wrong("excludes", fmt::format("'{}' is there twice", escape(*twice, 200)));
  const bool tls = cluster.endpoints.front().starts_with("https://");
  for (const auto& endpoint : cluster.endpoints) {
    const std::string_view scheme = tls ? "https://" : "http://";
    const auto rest = endpoint.starts_with(scheme) ? std::string_view(endpoint).substr(scheme.size()) : "";
    if (!rest.contains(':') || rest.find_first_of("/?#@ ") != std::string_view::npos)
      return wrong("endpoints", fmt::format("'{}' is not {}HOST:PORT, all of one kind", escape(endpoint, 200), scheme));
  }
  if (!tls && (!cluster.ca_file.empty() || !cluster.cert_file.empty() || !cluster.key_file.empty()))
    return wrong("cacert, cert, key", "are for endpoints that are https://");
  if (cluster.cert_file.empty() != cluster.key_file.empty()) return wrong("cert, key", "one needs the other");
  if (cluster.user.empty() != cluster.password_file.empty()) return wrong("user, password_file", "one needs the other");
  if (tls || cluster.user.empty() || place.password_in_clear) return {};
  for (const auto& endpoint : cluster.endpoints) {
    if (is_loopback(endpoint)) continue;
    return wrong("endpoints",
                 fmt::format("the password of user {} would go to {} without TLS, for everybody on the way "
                             "to read: use https://, or allow it by allow_password_in_clear",
                             escape(cluster.user, 80), escape(endpoint, 200)));
  }
  return {};
}

}  // namespace crosslink::node
