#include "node/body_fields.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

namespace crosslink::node {

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
