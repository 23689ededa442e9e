// What the admin port is asked of databases; of mirrors in admin_routes.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "node/admin/admin_answers.hpp"
#include "node/admin/body_fields.hpp"
#include "node/admin/reports.hpp"
#include "node/hosting/hosting.hpp"
#include "node/text.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::node {

namespace json = boost::json;

namespace {

/// A list of names that may mirror a database. Errors: Configuration.
Result<std::optional<std::vector<std::string>>> read_names(const json::object& body, std::string_view field) {
  const auto* const names = body.if_contains(field);
  if (names == nullptr || names->is_null()) return std::optional<std::vector<std::string>>();
  const auto read = json::try_value_to<std::vector<std::string>>(*names);
  const auto good = [](const std::string& name) { return name == any_mirror || is_dns_name(name); };
  if (!read || !std::ranges::all_of(*read, good))
    return MirrorError::configuration(
        fmt::format("{}: must be a list of certificate names, or of \"*\" for any that the CA signed", field));
  if (const auto twice = twice_in(*read, Case::is_ignored))
    return MirrorError::configuration(fmt::format("{}: '{}' is there twice", field, *twice));
  return std::optional(*read);
}

}  // namespace

awaitable<AdminResponse> AdminRoutes::answer_databases(const AdminRequest& request, std::string_view rest) {
  const auto now = [this](const std::string& name) {
    const auto database = hosting_->databases().find(name);
    return database ? object_answer(report_database(*database)) : not_here("database", name);
  };
  if (rest.empty() && request.method == "GET") {
    json::array databases;
    for (const auto& database : hosting_->databases().all())
      databases.push_back(report_database(*database));
    co_return object_answer(with_not_open({{"databases", std::move(databases)}}));
  }
  if (rest.empty() && request.method == "POST") {
    if (auto good = only_fields(request.body, {"name", "allow_mirrors", "anew"}); !good)
      co_return failed(good.error(), exit_usage);
    const auto* const name = request.body.if_contains("name");
    if (name == nullptr || !name->is_string())
      co_return failed(MirrorError::configuration("name: must be a text"), exit_usage);
    const auto allowed = read_names(request.body, "allow_mirrors");
    if (!allowed) co_return failed(allowed.error(), exit_usage);
    const auto anew = flag_field(request.body, "anew");
    if (!anew) co_return failed(anew.error(), exit_usage);
    auto creating = hosting_->create_database(std::string(name->as_string()), *allowed, *anew, request.caller);
    const auto created = co_await std::move(creating);
    co_return created ? now(std::string(name->as_string())) : failed(created.error());
  }
  if (rest.empty()) co_return wrong_method("GET and POST");
  const auto [name, verb] = split_path(rest);
  if (verb.empty() && request.method == "DELETE") {
    const auto said = read_flags(request.query, {"followed"});
    if (!said) co_return failed(said.error(), exit_usage);
    auto deleting = hosting_->delete_database(std::string(name), said->contains("followed"), request.caller);
    const auto deleted = co_await std::move(deleting);
    if (!deleted) co_return failed(deleted.error());
    co_return object_answer(
        {{"name", std::string(name)}, {"data", "set_aside"}, {"set_aside", deleted->set_aside.string()}});
  }
  if (verb.empty()) co_return request.method == "GET" ? now(std::string(name)) : wrong_method("GET and DELETE");
  if (verb != "restamp" && verb != "count-mirror" && verb != "allow-mirrors") co_return no_such("such command");
  if (request.method != "POST") co_return wrong_method("POST");
  if (verb == "allow-mirrors") {
    if (auto good = only_fields(request.body, {"names"}); !good) co_return failed(good.error(), exit_usage);
    auto names = read_names(request.body, "names");
    if (names && !*names) names = MirrorError::configuration("names: must be a list, empty for none");
    if (!names) co_return failed(names.error(), exit_usage);
    auto allowing = hosting_->allow_mirrors(std::string(name), **std::move(names), request.caller);
    const auto allowed = co_await std::move(allowing);
    co_return allowed ? now(std::string(name)) : failed(allowed.error());
  }
  if (verb == "count-mirror") {
    if (auto good = only_fields(request.body, {"id"}); !good) co_return failed(good.error(), exit_usage);
    const auto* const text = request.body.if_contains("id");
    const auto id =
        text != nullptr && text->is_string() ? detail::from_hex(std::string_view(text->as_string())) : std::nullopt;
    if (!id)
      co_return failed(MirrorError::configuration("id: must be 32 hex digits, as the status shows it"), exit_usage);
    auto counting = hosting_->count_mirror(std::string(name), {*id});
    const auto counted = co_await std::move(counting);
    co_return counted ? now(std::string(name)) : failed(counted.error());
  }
  if (auto good = only_fields(request.body, {}); !good) co_return failed(good.error(), exit_usage);
  auto stamping = hosting_->restamp(std::string(name), request.caller);
  const auto stamped = co_await std::move(stamping);
  co_return stamped ? now(std::string(name)) : failed(stamped.error());
}

}  // namespace crosslink::node
