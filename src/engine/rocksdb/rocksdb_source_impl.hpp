#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "crosslink/rocksdb_source.hpp"
#include "engine/rocksdb/caller_tables.hpp"
#include "engine/rocksdb/change_listener.hpp"
#include "engine/rocksdb/env_disk.hpp"
#include "engine/rocksdb/live.hpp"
#include "engine/rocksdb/log_chain.hpp"
#include "engine/rocksdb/log_window.hpp"
#include "engine/rocksdb/snapshot_store.hpp"

namespace crosslink {

struct RocksdbSource::Impl {
  Impl(rocksdb::DB& database, RocksdbSourceOptions chosen);
  ~Impl();
  Result<void> start();
  Result<void> begin(bool missed);
  Result<void> take_up_history();
  Result<void> save_history() const;
  Result<void> begin_after(Lsn last, HistoryCause cause);
  /// One new incarnation in place of all there were. Any thread. Errors: Storage; the history is new all the same.
  Result<void> replace_history(HistoryCause cause);
  void replace_history_meanwhile();
  Result<void> describe(rocks::Live& checkpoint, SnapshotFacts& facts);
  void look(const std::stop_token& stop);
  void look_once();
  /// Errors: Storage; then it looks again later.
  Result<void> look_at_tables();

  const RocksdbSourceOptions options;
  const rocks::Files disk;
  base::FileLock folder_lock;
  const std::shared_ptr<rocks::Live> live;
  std::shared_ptr<rocks::ChangeListener> listener;
  rocks::SnapshotStore snapshot_store;
  rocks::TableWatch tables;
  rocks::LogChain chain;

  mutable std::mutex mutex;
  rocks::DatabaseRecord record;
  rocks::LogWindow window;
  std::string reason_lost;  ///< why the last change of the history could not be saved

  std::mutex watch_mutex;
  Lsn seen;  ///< the head that was told last
  std::function<void(const CommittedLog&)> on_log;
  std::function<void()> on_history;

  std::mutex look_mutex;
  std::condition_variable_any look_wake;
  std::jthread looking;
};

}  // namespace crosslink
