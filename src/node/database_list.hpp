// The databases that are open, for everybody who looks one up by name or by SELECT's index.
#pragma once

#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

namespace crosslink::node {

class HostedDatabase;
/// Keeps a database open: hold it while you use it, not while you wait for a client.
using DatabasePointer = std::shared_ptr<HostedDatabase>;

/// Thread safe.
class DatabaseList {
 public:
  DatabasePointer find(std::string_view name) const;
  DatabasePointer at(std::uint32_t index) const;
  std::vector<DatabasePointer> all() const;  ///< by index
  void add(DatabasePointer database);
  /// Takes it out of the list; null: it is not there.
  DatabasePointer take(std::string_view name);
  void clear();

 private:
  mutable std::mutex mutex_;
  std::vector<DatabasePointer> databases_;
};

}  // namespace crosslink::node
