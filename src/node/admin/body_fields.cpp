#include "node/admin/body_fields.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <boost/json/basic_parser_impl.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "node/text.hpp"

namespace crosslink::node {
namespace {

namespace json = boost::json;

/// A handler of json::basic_parser, which names the functions: finds a field that is there twice. json::parse keeps the
/// last one without a word.
class FieldsOnce {
 public:
  static constexpr auto no_limit = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_object_size = no_limit, max_array_size = no_limit, max_key_size = no_limit,
                               max_string_size = no_limit;

  bool on_object_begin(json::error_code& /*error*/) {
    open_.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t /*count*/, json::error_code& /*error*/) {
    open_.pop_back();
    return true;
  }
  bool on_key_part(json::string_view part, std::size_t /*bytes*/, json::error_code& /*error*/) {
    key_.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view last, std::size_t bytes, json::error_code& error) {
    static_cast<void>(on_key_part(last, bytes, error));
    auto key = std::exchange(key_, {});
    if (!twice && open_.back().contains(key)) twice = key;
    open_.back().insert(std::move(key));
    return true;
  }
  // What these say is not asked for.
  bool on_document_begin(json::error_code& /*error*/) { return true; }
  bool on_document_end(json::error_code& /*error*/) { return true; }
  bool on_array_begin(json::error_code& /*error*/) { return true; }
  bool on_array_end(std::size_t /*count*/, json::error_code& /*error*/) { return true; }
  bool on_string_part(json::string_view /*part*/, std::size_t /*bytes*/, json::error_code& /*error*/) { return true; }
  bool on_string(json::string_view /*last*/, std::size_t /*bytes*/, json::error_code& /*error*/) { return true; }
  bool on_number_part(json::string_view /*part*/, json::error_code& /*error*/) { return true; }
  bool on_int64(std::int64_t /*value*/, json::string_view /*text*/, json::error_code& /*error*/) { return true; }
  bool on_uint64(std::uint64_t /*value*/, json::string_view /*text*/, json::error_code& /*error*/) { return true; }
  bool on_double(double /*value*/, json::string_view /*text*/, json::error_code& /*error*/) { return true; }
  bool on_bool(bool /*value*/, json::error_code& /*error*/) { return true; }
  bool on_null(json::error_code& /*error*/) { return true; }
  bool on_comment_part(json::string_view /*part*/, json::error_code& /*error*/) { return true; }
  bool on_comment(json::string_view /*last*/, json::error_code& /*error*/) { return true; }

  std::optional<std::string> twice;

 private:
  std::vector<std::set<std::string>> open_;  ///< the fields of each object that has begun
  std::string key_;
};

}  // namespace

Result<json::object> read_body(std::string_view text) {
  json::error_code error;
  auto parsed = json::parse(text, error);
  if (error || !parsed.is_object()) return MirrorError::configuration("the body must be a JSON object");
  json::basic_parser<FieldsOnce> again{json::parse_options()};
  static_cast<void>(again.write_some(false, text.data(), text.size(), error));
  if (const auto& twice = again.handler().twice) return wrong_field(escape(*twice, 80), "is there twice");
  return std::move(parsed.as_object());
}

Result<std::set<std::string_view>> read_flags(std::string_view query, std::initializer_list<std::string_view> known) {
  std::set<std::string_view> said, yes;
  while (!query.empty()) {
    const auto part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    const auto equals = std::min(part.find('='), part.size());
    const auto name = part.substr(0, equals), value = part.substr(std::min(equals + 1, part.size()));
    if (std::ranges::find(known, name) == known.end() || (value != "true" && value != "false")) {
      return MirrorError::configuration(
          fmt::format("{} must be true or false; there is nothing else to say", joined(known, " and ")));
    }
    if (!said.insert(name).second) return wrong_field(name, "is there twice");
    if (value == "true") yes.insert(name);
  }
  return yes;
}

MirrorError wrong_field(std::string_view field, std::string_view what) {
  return MirrorError::configuration(fmt::format("{}: {}", field, what));
}

Result<void> only_fields(const boost::json::object& body, std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : body) {
    if (std::ranges::find(known, std::string_view(name.data(), name.size())) == known.end())
      return wrong_field(escape(std::string_view(name.data(), name.size()), 80), "there is no such field");
  }
  return {};
}

Result<bool> flag_field(const boost::json::object& body, std::string_view field) {
  const auto* const value = body.if_contains(field);
  if (value == nullptr || value->is_null()) return false;
  if (!value->is_bool()) return wrong_field(field, "must be true or false");
  return value->as_bool();
}

}  // namespace crosslink::node
