// The databases of a node, for all that look one up by name or by SELECT's index: those that are open, and why
// others are not.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crosslink/error.hpp"

namespace crosslink::node {

class HostedDatabase;
/// Keeps a database open: hold it while you use it, not while you wait for a client.
using DatabasePointer = std::shared_ptr<HostedDatabase>;

/// One that the node has, and that could not be opened yet.
struct NotOpen {
  std::string name;
  std::uint32_t index = 0;
  MirrorError reason;
  bool is_opening = false;  ///< since the start: it is not known yet whether it can be
};

/// Thread safe.
class DatabaseList {
 public:
  DatabasePointer find(std::string_view name) const;
  DatabasePointer at(std::uint32_t index) const;
  std::vector<DatabasePointer> all() const;  ///< by index
  /// It is open from now on.
  void add(DatabasePointer database);
  /// Takes it out of the list; null: it is not there.
  DatabasePointer take(std::string_view name);
  void clear();

  /// It is not open, for this reason: the last one that was given counts. True: it was not known before that it cannot
  /// be opened.
  bool put_not_open(NotOpen database);
  /// It is open, or gone.
  void drop_not_open(std::string_view name);
  std::vector<NotOpen> not_open() const;  ///< by index
  std::optional<NotOpen> not_open(std::string_view name) const;
  std::optional<NotOpen> not_open_at(std::uint32_t index) const;

 private:
  mutable std::mutex mutex_;
  std::vector<DatabasePointer> databases_;
  std::vector<NotOpen> not_open_;
};

}  // namespace crosslink::node
