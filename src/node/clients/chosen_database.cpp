#include "node/clients/chosen_database.hpp"

#include <fmt/format.h>

#include <utility>

#include "node/clients/command_table.hpp"
#include "node/hosting/hosted_database.hpp"
#include "node/text.hpp"

namespace crosslink::node {

ChosenDatabase::ChosenDatabase(const DatabaseList& databases) : databases_(&databases), chosen_(at(place_)) {}

ChosenDatabase::~ChosenDatabase() { set_max_lag(std::nullopt); }

ClientDatabasePointer ChosenDatabase::at(const Place& place) const {
  const auto* const index = std::get_if<std::uint32_t>(&place);
  return client_database(index != nullptr ? databases_->at(*index) : databases_->find(std::get<std::string>(place)));
}

/// An error reply; absent: no database that is not open has this place.
std::optional<std::string> ChosenDatabase::why_not_open(const Place& place) const {
  const auto* const index = std::get_if<std::uint32_t>(&place);
  const auto shut =
      index != nullptr ? databases_->not_open_at(*index) : databases_->not_open(std::get<std::string>(place));
  if (!shut) return std::nullopt;
  // Libraries know Redis' word for it, and ask again.
  const auto* const word = shut->is_opening ? "LOADING" : "ERR";
  return fmt::format("{} database '{}' is not open: {}", word, shut->name, escape(shut->reason.message(), 500));
}

std::string ChosenDatabase::why_none() const {
  if (auto shut = why_not_open(place_)) return *std::move(shut);
  const auto* const index = std::get_if<std::uint32_t>(&place_);
  return index != nullptr
             ? fmt::format("ERR there is no database {} here now: SELECT another by its index or name", *index)
             : fmt::format("ERR database '{}' is no longer here", std::get<std::string>(place_));
}

std::optional<std::string> ChosenDatabase::choose(std::string_view word) {
  // A number is an index, also where a database of an older version's making has it for a name.
  const auto index = parse_integer(word);
  const bool is_index = index && *index >= 0 && *index <= UINT32_MAX;
  auto place = is_index ? Place(static_cast<std::uint32_t>(*index)) : Place(std::string(word));
  auto database = at(place);
  if (!database) return why_not_open(place).value_or("ERR DB index is out of range");
  place_ = std::move(place);
  take(std::move(database));
  return std::nullopt;
}

/// One that was replaced is found anew at its place.
bool ChosenDatabase::hold() {
  held_ = chosen_.lock();
  if (held_ && !held_->hosted().retired()) return true;
  held_ = at(place_);
  if (held_) take(held_);
  return false;
}

void ChosenDatabase::take(ClientDatabasePointer database) {
  chosen_ = database;
  set_max_lag(max_lag_);
  held_ = std::move(database);
}

/// Tells the mirror that is chosen now, and the one that was told before that it is over.
void ChosenDatabase::set_max_lag(std::optional<std::chrono::milliseconds> max_lag) {
  if (const auto before = limited_.lock(); before && max_lag_) before->hosted().mirror()->remove_max_lag(*max_lag_);
  limited_.reset();
  max_lag_ = max_lag;
  const auto chosen = chosen_.lock();
  if (!max_lag_ || !chosen || chosen->hosted().mirror() == nullptr) return;
  chosen->hosted().mirror()->add_max_lag(*max_lag_);
  limited_ = chosen;
}

std::function<std::string()> ChosenDatabase::why_stale() const {
  if (!max_lag_) return {};
  return [database = held_.get(), most = *max_lag_] { return database->why_stale(most); };
}

}  // namespace crosslink::node
