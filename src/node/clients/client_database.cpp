#include "node/clients/client_database.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "crosslink/entry.hpp"

#include "node/hosting/hosted_database.hpp"

namespace crosslink::node {

ClientDatabase::ClientDatabase(HostedDatabase& hosted, const boost::asio::any_io_executor& committers)
    : hosted_(&hosted) {
  if (auto* const local = hosted.local())
    commits_ = std::make_unique<CommitQueue>(*local, watches_, hosted.sync_gate(), committers);
}

std::string ClientDatabase::why_stale(std::chrono::milliseconds max_lag) const {
  if (hosted_->takes_writes()) return {};
  const auto* const mirror = hosted_->mirror();
  const auto lag = mirror != nullptr ? mirror->mirror().lag() : std::nullopt;
  if (!lag) return "MAXLAG the data is of unknown age";
  if (*lag <= max_lag) return {};
  return fmt::format("MAXLAG the data may be {} ms old", std::chrono::ceil<std::chrono::milliseconds>(*lag).count());
}

void ClientDatabase::note_count(Lsn lsn, std::uint64_t keys) {
  const std::scoped_lock lock(count_mutex_);
  count_ = {lsn, keys};
}

std::optional<std::uint64_t> ClientDatabase::known_count() const {
  const auto now = hosted_->head();
  const std::scoped_lock lock(count_mutex_);
  if (!count_ || count_->lsn != now) return std::nullopt;
  return count_->keys;
}

void ClientDatabase::fence() {
  if (commits_) commits_->fence();
}

void ClientDatabase::lift_fence() {
  if (commits_) commits_->lift_fence();
}

void ClientDatabase::on_history_change() {
  watches_.touch_all();  // what the disk had not confirmed is gone
}

/// Clients of a mirror watch what its source's clients write.
void ClientDatabase::on_applied(const CommittedLog& log) {
  if (!watches_.has_any()) return;
  if (log.entries.empty()) return watches_.touch_all();  // it is in the engine's log only
  std::vector<Operation> operations;
  for (auto rest = log.entries; !rest.empty();) {
    const auto entry = read_entry(rest);
    if (!entry) return watches_.touch_all();
    entry->for_each([&](const Operation& operation) { operations.push_back(operation); });
  }
  watches_.touch(operations);
}

ClientDatabasePointer client_database(DatabasePointer hosted) {
  auto* const clients = hosted ? dynamic_cast<ClientDatabase*>(hosted->clients()) : nullptr;
  if (clients == nullptr) return nullptr;
  return {std::move(hosted), clients};
}

ClientsMaker client_databases(boost::asio::any_io_executor committers) {
  return [committers = std::move(committers)](HostedDatabase& hosted) {
    return std::make_unique<ClientDatabase>(hosted, committers);
  };
}

}  // namespace crosslink::node
