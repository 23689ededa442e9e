// Entries out of watches, and etcd's own history read as a log: one revision, one entry.
#pragma once

#include <chrono>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "engine/etcd/keys.hpp"
#include "engine/etcd/log_store.hpp"
#include "engine/etcd/watch.hpp"

namespace crosslink::etcd {

/// What leases were granted, asked once for each. Thread safe.
class LeaseBook {
 public:
  explicit LeaseBook(std::shared_ptr<Client> client) : client_(std::move(client)) {}
  /// Absent when it is gone, and its keys are deleted soon, or when we may not ask. Errors: Storage.
  Result<std::optional<LeaseGrant>> grant_of(std::int64_t lease);

 private:
  std::shared_ptr<Client> client_;
  std::mutex mutex_;
  std::unordered_map<std::int64_t, std::uint64_t> ttl_s_;
};

/// Which endpoints answer requests for progress, as far as they were asked. Thread safe.
class ProgressBook {
 public:
  /// Absent: not known, or not for long enough.
  std::optional<bool> answers(std::size_t endpoint) const;
  void note(std::size_t endpoint, bool answers);

 private:
  struct Noted {
    bool answers;
    std::chrono::steady_clock::time_point at;
  };
  mutable std::mutex mutex_;
  std::unordered_map<std::size_t, Noted> noted_;
};

/// What a database's log is made of.
struct LogOrigin {
  std::shared_ptr<Client> client;
  KeySpace keys;
  /// Of a mirror: each own revision writes it, and it says what the revision stands for at the root. Else empty.
  std::string position_key;
  std::shared_ptr<LeaseBook> leases;
  /// Which keys a watch is set on, and whether it can be asked how far it has come.
  enum class Scope : std::uint8_t {
    everything,       ///< every revision of the cluster is seen: the last one seen is how far it has come
    asked_progress,   ///< the database's keys; the server says how far it has come, in order
    own_events_only,  ///< the database's keys; between them nothing is known
  } scope = Scope::everything;
  std::size_t revision_bytes_max = revision_bytes_max_default;
  /// Which endpoints answer requests for progress: a proxy of etcd's does not.
  std::shared_ptr<ProgressBook> progress = std::make_shared<ProgressBook>();

  struct Watch {
    std::unique_ptr<WatchStream> stream;
    Scope scope;  ///< of this one: the member that it is set at may be of another version
    /// The member is of a version that may leave out a delete: an answer counts once newest_if_kept() has said that
    /// nothing before it was compacted.
    bool loses_deletes;
  };
  /// Errors: NotAuthorized; Storage.
  Result<Watch> watch(std::int64_t from) const;

 private:
  Result<Watch> watch(const Client::Place& place, Scope scope, std::int64_t from) const;
  Result<bool> answers_progress(const Client::Place& place) const;
};

/// What an answer of a watch holds: events of the database as blocks, one for all, or one for each revision. Errors:
/// Storage when a lease could not be asked for.
Result<std::vector<Block>> blocks_of(const LogOrigin& origin, const wire::WatchResponse& response, Lsn prev,
                                     Lsn origin_lsn, bool by_revision);
/// The newest revision, if no compaction has passed `after`: a member that loses deletes at a compaction tells a watch
/// all that came after it then. Errors: LogWindowExceeded when one has; NotAuthorized; Storage.
Result<Lsn> newest_if_kept(Client& client, const KeySpace& keys, Lsn after);
/// The newest revision that an answer proves to have come to.
Lsn come_to(const wire::WatchResponse& response);

/// etcd's history after any revision that is not compacted. Thread safe; a few readers keep their watch open.
class PastLog {
 public:
  explicit PastLog(LogOrigin origin) : origin_(std::move(origin)) {}
  /// The log after `after`, at least one entry or up to `target`, and never beyond `target`. Precondition: after <
  /// target, a revision that exists. `origin_lsn`: what `after` stands for at the root, unless a record says it.
  /// Errors: LogWindowExceeded; NotAuthorized; Storage.
  Result<LogSlice> read(Lsn after, Lsn target, std::size_t bytes_max, Lsn origin_lsn);
  /// Is the log after `after` there? Errors: Storage.
  Result<bool> holds(Lsn after);
  /// The oldest LSN after which the log is there. Precondition: holds(known_held).
  Result<Lsn> oldest(Lsn known_gone, Lsn known_held);
  /// Nothing that was read so far counts.
  void forget();

 private:
  struct Cursor {
    Lsn at, read_to, origin_lsn;
    LogOrigin::Watch watch;
    std::deque<Block> blocks;
  };
  Result<Cursor> take(Lsn after, Lsn origin_lsn);
  Result<Cursor> open(Lsn after, Lsn origin_lsn);
  Result<void> fill(Cursor& cursor, Lsn target);
  const LogOrigin origin_;
  std::mutex mutex_;
  std::list<Cursor> cursors_;
  std::uint64_t forgotten_ = 0;  ///< how often: what was taken before is not given back
};

}  // namespace crosslink::etcd
