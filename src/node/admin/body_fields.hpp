// Fields of what a request to the admin port says. What is not understood is an error, never something else.
#pragma once

#include <boost/json/object.hpp>
#include <initializer_list>
#include <set>
#include <string_view>

#include "crosslink/result.hpp"

namespace crosslink::node {

/// Errors: Configuration for what is no JSON object, and for a field that is there twice, at any depth: which of the
/// two is meant cannot be told.
Result<boost::json::object> read_body(std::string_view text);
/// Of "keep_data=true&promoted=false": those of `known` that are true. Errors: Configuration for all else, and for one
/// that is there twice.
Result<std::set<std::string_view>> read_flags(std::string_view query, std::initializer_list<std::string_view> known);
/// Configuration: "field: what".
MirrorError wrong_field(std::string_view field, std::string_view what);
/// Errors: Configuration, naming a field that is none of `known`.
Result<void> only_fields(const boost::json::object& body, std::initializer_list<std::string_view> known);
/// False when it is absent or null. Errors: Configuration for what is no true or false.
Result<bool> flag_field(const boost::json::object& body, std::string_view field);

}  // namespace crosslink::node
