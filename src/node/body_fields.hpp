// Fields of what a request to the admin port says. What is not understood is an error, never something else.
#pragma once

#include <boost/json/fwd.hpp>
#include <initializer_list>
#include <string_view>

#include "crosslink/result.hpp"

namespace crosslink::node {

/// Configuration: "field: what".
MirrorError wrong_field(std::string_view field, std::string_view what);
/// Errors: Configuration, naming a field that is none of `known`.
Result<void> only_fields(const boost::json::object& body, std::initializer_list<std::string_view> known);
/// False when it is absent or null. Errors: Configuration for what is no true or false.
Result<bool> flag_field(const boost::json::object& body, std::string_view field);

}  // namespace crosslink::node
