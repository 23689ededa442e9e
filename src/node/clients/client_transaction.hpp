// What a connection has of a transaction: the commands between MULTI and EXEC, and the keys that it watches for it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "node/clients/client_database.hpp"
#include "node/clients/write_run.hpp"

namespace crosslink::node {

/// Bounded in commands, bytes and keys. On one thread.
class ClientTransaction {
 public:
  static constexpr std::size_t commands_max = 100'000, bytes_max = 128ull * 1024 * 1024, watched_keys_max = 10'000;

  /// MULTI was said, and neither EXEC nor DISCARD since.
  bool begun() const { return begun_; }
  void begin() { begun_ = true; }
  /// Precondition: begun(). What would be too much spoils it.
  void keep(const Command& command, const Words& words);
  /// A command of it was refused: EXEC carries out nothing. Without effect before MULTI.
  void spoil();
  bool spoiled() const { return spoiled_; }
  /// Another database is at the client's place, or none: what was kept was meant for the old one, and what was watched
  /// is not the same any more.
  void on_other_database();

  bool watches() const { return watch_ != nullptr; }
  /// False: more keys are watched than may be.
  bool watch(ClientDatabase& database, std::string_view key);

  /// The run, whose words stand in here until end(). Precondition: begun().
  void fill(WriteRun& run) const;
  /// Nothing is kept or watched any more. `database`: where keys are watched; null: it is gone.
  void end(const ClientDatabasePointer& database);
  /// In memory, about.
  std::size_t held_bytes() const { return kept_bytes_ + watched_bytes_; }

 private:
  struct KeptCommand {
    const Command* command;
    std::vector<std::string> words;
  };
  bool begun_ = false, spoiled_ = false;
  std::vector<KeptCommand> commands_;
  std::shared_ptr<Watch> watch_;  ///< null: nothing is watched
  std::size_t kept_bytes_ = 0, watched_keys_ = 0, watched_bytes_ = 0;
};

}  // namespace crosslink::node
