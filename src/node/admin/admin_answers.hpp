// How the admin port answers: an object, an error, a path or method that it does not have.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "crosslink/error.hpp"
#include "node/admin/admin_routes.hpp"

namespace crosslink::node {

/// Of a path: the part before the first '/', and the rest.
std::pair<std::string_view, std::string_view> split_path(std::string_view path);

AdminResponse object_answer(const boost::json::object& body, unsigned status = 200);
/// `exit`: what the command line exits with; absent: what the error's kind says. `more`: beside what an error has.
AdminResponse failed(const MirrorError& error, std::optional<int> exit = {}, boost::json::object more = {});
AdminResponse no_such(std::string_view what);
AdminResponse wrong_method(std::string_view allowed);

}  // namespace crosslink::node
