// Which database a connection of a client means, and how old its data may be.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "node/clients/client_database.hpp"
#include "node/hosting/database_list.hpp"

namespace crosslink::node {

/// An index is a place that does not move, and a name is that of whichever database has it now: what stands at another
/// index, or under another name, is not what the client means. The database is held only while commands are carried out,
/// so that no connection keeps one open whose client says nothing. On one thread.
class ChosenDatabase {
 public:
  /// Index 0, until the client chooses. `databases` must outlive it. Holds nothing yet.
  explicit ChosenDatabase(const DatabaseList& databases);
  /// The mirror that was told of a lag hears that this is over.
  ~ChosenDatabase();
  ChosenDatabase(const ChosenDatabase&) = delete;
  ChosenDatabase& operator=(const ChosenDatabase&) = delete;

  /// SELECT: an index or a name; holds what is there. An error reply: nothing is, and what was chosen before stays.
  std::optional<std::string> choose(std::string_view word);
  /// Holds what stands at the place now. False: that is another than was held last, or none.
  bool hold();
  void let_go() { held_.reset(); }
  /// Null: let go, or nothing is there.
  const ClientDatabasePointer& held() const { return held_; }
  /// The one that was held last, if it is still there. Null: it was closed.
  ClientDatabasePointer last() const { return held_ ? held_ : chosen_.lock(); }
  /// Why hold() found nothing, as an error reply.
  std::string why_none() const;

  /// The client accepts no older data; absent: any. The mirror probes its source often enough for that.
  void set_max_lag(std::optional<std::chrono::milliseconds> max_lag);
  /// As WriteRun::why_stale, for what is held now, as long as it is held.
  std::function<std::string()> why_stale() const;

 private:
  using Place = std::variant<std::uint32_t, std::string>;  ///< an index or a name
  ClientDatabasePointer at(const Place& place) const;
  std::optional<std::string> why_not_open(const Place& place) const;
  void take(ClientDatabasePointer database);

  const DatabaseList* const databases_;
  Place place_ = std::uint32_t{0};
  std::weak_ptr<ClientDatabase> chosen_;
  ClientDatabasePointer held_;
  std::optional<std::chrono::milliseconds> max_lag_;
  std::weak_ptr<ClientDatabase> limited_;  ///< whose mirror was told of max_lag_
};

}  // namespace crosslink::node
