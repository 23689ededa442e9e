// One database of the simulated world: the engine under test, and what the oracle knows of it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "crosslink/memory_engine.hpp"
#include "crosslink/testing/memory_faults.hpp"
#include "sim/oracle.hpp"

namespace crosslink::sim {

class Database {
 public:
  Database(World& world, Oracle& oracle, std::string name, const MemoryOptions& options,
           std::unique_ptr<MemoryDatabase> engine);
  const MemoryOptions& options() const { return options_; }

  MemoryDatabase& engine() { return *engine_; }
  const std::string& name() const { return name_; }
  /// What the engine holds, read through its view.
  Contents contents();
  /// The commit that its contents stand for. Violation when there is none.
  const Node* node();
  /// The engine was called and may hold something else now.
  void changed() { node_ = nullptr; }
  Oracle::Log log() { return log_of(engine_->source_state().history.newest().incarnation); }
  static Oracle::Log log_of(const Incarnation& incarnation) { return to_string(incarnation); }

  /// A client's commit of random operations; nullopt when the engine refuses (disk full). `big_bytes`: size of one
  /// value.
  std::optional<Lsn> commit(std::size_t big_bytes);
  /// The engine was changed by other means: its newest incarnation stands at its head for what it holds now.
  void note_standing();

 private:
  World* world_;
  Oracle* oracle_;
  std::string name_;
  MemoryOptions options_;
  std::unique_ptr<MemoryDatabase> engine_;
  const Node* node_ = nullptr;  ///< as last read; null: to be read again
};

}  // namespace crosslink::sim
