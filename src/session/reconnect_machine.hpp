// When CrossClusterLink dials, waits and gives up: events in, actions out. No clock, no sockets, no threads.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <variant>

#include "crosslink/backoff.hpp"
#include "crosslink/result.hpp"

namespace crosslink::core {

struct Dial {
  std::size_t address_index = 0;  ///< dial and shake hands with this address; the deadline is the driver's
  std::uint64_t turn = 0;         ///< how often this address was dialled before: a name may stand for several
};
struct Sleep {
  std::chrono::milliseconds delay{0};  ///< with jitter; then say slept()
};
struct Return {};  ///< the running operation is over: the last event says how
using Action = std::variant<Dial, Sleep, Return>;

enum class LinkPhase : std::uint8_t { disconnected, connecting, waiting, connected, closed };

/// The driver says what happened and carries out the action it gets. An event that cannot happen in the present phase
/// is a bug of the driver and aborts; after close() every event of a running operation answers Return.
class ReconnectMachine {
 public:
  ReconnectMachine(std::size_t address_count, std::uint64_t seed, std::chrono::milliseconds base = backoff_base,
                   std::chrono::milliseconds cap = backoff_cap);

  /// connect(): one attempt. Errors: AlreadyConnected, Busy, Cancelled (closed).
  Result<Action> start_connect();
  /// schedule_reconnect(): disconnected from here on. If a session had been established without progress the backoff
  /// doubles first. The driver closes the old connection and resets the throttle before it carries the action out.
  /// Errors: Busy, Cancelled (closed).
  Result<Action> start_reconnect();
  Action slept();
  Action dial_succeeded();
  Action dial_failed(const MirrorError& error);
  /// The running operation was cancelled from outside: idle and disconnected.
  void operation_cancelled();
  /// The connection ended while no operation runs.
  void connection_lost();
  void note_progress();
  void close();

  LinkPhase phase() const { return phase_; }
  /// Before jitter.
  std::chrono::milliseconds backoff() const { return backoff_; }
  std::uint64_t attempts() const { return attempts_; }      ///< dials since the last established handshake
  std::uint64_t reconnects() const { return reconnects_; }  ///< established handshakes after the first
  const std::optional<MirrorError>& last_error() const { return last_error_; }

 private:
  enum class Operation : std::uint8_t { none, connect, reconnect };
  std::optional<MirrorError> obstacle() const;
  Action dial();
  Action sleep();
  void double_backoff();

  std::size_t address_count_;
  std::mt19937_64 random_;
  std::chrono::milliseconds base_, cap_, backoff_;
  Operation operation_ = Operation::none;
  LinkPhase phase_ = LinkPhase::disconnected;
  bool fruitless_session_ = false;  ///< established, and nothing came of it yet
  bool established_before_ = false;
  std::uint64_t dials_ = 0, attempts_ = 0, reconnects_ = 0;
  std::optional<MirrorError> last_error_;
};

}  // namespace crosslink::core
