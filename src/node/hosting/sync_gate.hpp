// Sync mode: holds back the answers to writes until the mirrors that the config names have them on disk, or it is too
// late. docs/protocol.md, "Sync mode".
//
//   the committing thread -- hold() --> waiting --> done(), on the thread that brought the decision about:
//   what mirrors say -- on_mirror_at() --^     ^-- look(), on a thread of the gate's own, when time is up
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "crosslink/position.hpp"
#include "crosslink/result.hpp"
#include "crosslink/types.hpp"
#include "node/hosting/counted_mirrors.hpp"
#include "session/sync_rule.hpp"

namespace crosslink::node {

/// One name of sync_mirrors, for an operator.
struct SyncMirrorFacts {
  std::string name;
  std::optional<MirrorIdentity> counted;  ///< absent: none came yet
  /// The last other one that came under the name; what it confirms does not count.
  std::optional<MirrorIdentity> not_counted;
  std::string trouble;  ///< why a mirror that came is not counted yet; empty: nothing
};

/// What an operator wants to know of a database in sync mode.
struct SyncFacts {
  std::vector<SyncMirrorFacts> mirrors;  ///< as the config names them
  bool suspended = false;                ///< on_sync_loss = async, and a mirror is lost: no write waits
  std::uint64_t waiting = 0;             ///< connections whose writes wait to be confirmed
  std::uint64_t unconfirmed = 0;         ///< writes that were answered NOSYNC, since the start
  std::uint64_t async = 0;               ///< writes that were answered OK without being confirmed, since the start
};

/// Why writes are not to be answered as if they were safe: they are stored here, and this mirror did not confirm them in
/// time, or not before the gate was stopped.
struct Unconfirmed {
  Lsn lsn;              ///< of their commit
  std::string missing;  ///< the mirror's name in sync_mirrors; one of them, where several are missing
};

/// Writes of one connection that are in a commit, and whose answers wait.
struct HeldWrites {
  std::size_t writes = 0;  ///< how many of its answers say that something was written
  /// Called once, on any thread: the answers may be sent. Null: as they are, else the writes' are refused.
  std::function<void(const Unconfirmed* unconfirmed)> done;
};

/// Thread safe.
class SyncGate {
 public:
  using Clock = std::function<core::Instant()>;
  /// Makes durable which mirrors count, before they do. On the gate's thread, in look(), or in count(), which is an
  /// operator's word. May block.
  using Keep = std::function<Result<void>(const CountedMirrors&, bool by_operator)>;
  struct Options {
    std::string database;     ///< for log lines
    core::SyncConfig config;  ///< names a mirror
    CountedMirrors counted;   ///< as they were kept
    Keep keep;
    Clock clock;  ///< null: the system's, and a thread of the gate's own calls look(); else the caller does
  };
  explicit SyncGate(Options options);
  /// As stop().
  ~SyncGate();
  SyncGate(const SyncGate&) = delete;
  SyncGate& operator=(const SyncGate&) = delete;

  /// These writes are in `commit`, which is durable here. LSNs rise within an incarnation. Never waits: `done` of each is
  /// called before or after it returns. No bound of its own: the caller refuses what would be too much, by waiting().
  void hold(const core::SyncPoint& commit, std::vector<HeldWrites> held);
  /// A mirror with these certificate names has all up to `durable` on disk; `head` is the database's. The first mirror
  /// that comes under a name is the one that counts, from when that is durable on; another one never does by itself.
  void on_mirror_at(std::span<const std::string> peer_names, const MirrorIdentity& mirror,
                    const core::SyncPoint& durable, const core::SyncPoint& head);
  /// A mirror with these certificate names has a session, and may have said nothing yet: one that does not count can be
  /// chosen by count() from now on.
  void on_mirror_came(std::span<const std::string> peer_names, const MirrorIdentity& mirror);
  /// Nothing that mirrors said before counts any more.
  void on_history_change();
  /// From now on the mirror with this id counts for the name under which it last came, instead of the one that did. When
  /// it has not said yet that it has all up to `head`, which is the database's, its standing is suspended until it does.
  /// Blocks for a durable write. Errors: Configuration when no such mirror came; Storage.
  Result<void> count(const MirrorId& id, const core::SyncPoint& head);
  /// Absent: no name of this mirror is in sync_mirrors, or it is not decided yet.
  std::optional<SyncStanding> standing(std::span<const std::string> peer_names, const MirrorIdentity& mirror) const;
  /// Writes that wait, and those from now on, are refused at once as unconfirmed.
  void stop();
  /// Does and answers what is due.
  void look();
  /// When look() is due; absent: time decides nothing.
  std::optional<core::Instant> next_look() const;

  SyncFacts facts() const;
  std::size_t waiting() const;  ///< connections

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Waiting {
    core::SyncPoint commit;
    std::vector<HeldWrites> held;
  };
  /// What may be answered, and how.
  struct Decided {
    std::vector<HeldWrites> held;
    std::optional<Unconfirmed> unconfirmed;  ///< absent: as it was carried out
  };
  /// Of a lost mirror: the head at some moment, which it has yet to reach.
  struct Goal {
    Lsn head;
    core::Instant since;
  };
  /// What is known under one name of the config.
  struct Named {
    std::optional<MirrorIdentity> counted;
    struct Said {
      MirrorIdentity mirror;
      core::SyncPoint durable, head;
    };
    std::optional<Said> newcomer;  ///< is to be counted, once that is durable
    struct NotCounted {
      MirrorIdentity mirror;
      core::SyncPoint durable;  ///< as it last said; all zero: nothing, or of another history
    };
    std::vector<NotCounted> not_counted;  ///< those that came, the last one last; so many are remembered
    std::string trouble;
    std::optional<Goal> goal;
    /// Made to count by an operator, and not yet where the database was then: what was confirmed before may be missing.
    bool behind = false;
    std::optional<Lsn> behind_until;  ///< as soon as that is known
  };
  bool is_named(std::span<const std::string> peer_names, const std::string& name) const;
  Named::NotCounted& note_not_counted(const std::string& name, Named& named, const MirrorIdentity& mirror);
  void take_in(const std::string& name, Named& named, const core::SyncPoint& durable, const core::SyncPoint& head);
  void keep_newcomers();
  void decide(Lock lock);
  Decided answer(const core::SyncRule::Decided& decided);
  Decided refuse(Waiting waiting, const std::string& missing);
  bool caught_up(Named& named, Lsn durable, Lsn head);
  std::optional<core::Instant> due() const;
  CountedMirrors counted_now() const;
  static void forget_said(Named& named);
  void work();

  const std::string database_;
  const core::SyncConfig config_;
  const Keep keep_;
  const Clock clock_;
  std::mutex keep_mutex_;  ///< taken before mutex_, and held while a file is written
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  core::SyncRule rule_;
  std::deque<Waiting> waiting_;
  std::map<std::string, Named> names_;
  CountedMirrors kept_before_;            ///< of names that the config does not have
  std::optional<core::Instant> keep_at_;  ///< a newcomer is to be kept then
  std::size_t held_ = 0;                  ///< connections
  std::uint64_t unconfirmed_ = 0, async_ = 0;
  bool was_suspended_ = false, stopping_ = false;
  std::thread thread_;
};

/// "eu-1/orders (id 0123...)", for people.
std::string to_text(const MirrorIdentity& mirror);

}  // namespace crosslink::node
