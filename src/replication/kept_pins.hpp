// core::PinKeeper and the engine it speaks for.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "crosslink/engine.hpp"
#include "session/pin_keeper.hpp"

namespace crosslink::replication {

/// Thread safe.
class KeptPins : public std::enable_shared_from_this<KeptPins> {
 public:
  KeptPins(SourceEngine& engine, boost::asio::any_io_executor engine_executor, std::chrono::microseconds away_max);

  // On an engine thread.
  void pin(const std::string& mirror, const std::string& holder, Lsn from);
  void unpin(const std::string& mirror, const std::string& holder);
  // On any thread; the engine is called on its own.
  void session_ended(const std::string& holder);
  /// The log grows by commits alone: then is early enough to look who has been away for too long.
  void head_moved();
  /// Lets go of everything; no call of the engine comes after it.
  void stop();

 private:
  void release(const core::PinKeeper::Holders& holders);
  void note_deadline();
  void release_later(core::PinKeeper::Holders holders);
  core::PinKeeper::Holders take_later();
  SourceEngine* const engine_;
  const boost::asio::any_io_executor engine_executor_;
  std::mutex mutex_;  ///< of the keeper
  core::PinKeeper keeper_;
  core::PinKeeper::Holders later_;  ///< to be released by a call that is posted
  std::atomic<core::Instant::rep> deadline_;
  std::mutex call_mutex_;  ///< held over calls that are made later
  bool stopped_ = false;
};

}  // namespace crosslink::replication
