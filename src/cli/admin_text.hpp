// How the answers of the admin port other than a mirror's status look to a person.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <string>

namespace crosslink::cli {

/// The checks of a dry run, and what would be replaced.
std::string checks_text(const boost::json::object& dry_run);
/// What became of a deleted mirror's data.
std::string deleted_text(const boost::json::object& deleted);
/// What a replaced database has that its new source does not.
std::string replaced_text(const boost::json::object& replaced);
std::string promote_text(const boost::json::object& promoted);
/// At most `named_max` keys are named.
std::string verify_text(const boost::json::object& verify, std::chrono::microseconds took, std::size_t named_max = 20);
std::string database_table(const boost::json::array& databases);
/// "a,b", "none" or "any": who may mirror it.
std::string allowed_text(const boost::json::object& database);
/// A line for each database of an answer that is not open, and why.
std::string not_open_text(const boost::json::object& answer);
std::string database_line(const boost::json::object& database);

}  // namespace crosslink::cli
