// A mirror's engine as its machine sees it: where it stands, the one call that is under way, what failed.
#pragma once

#include <optional>
#include <utility>
#include <variant>

#include "session/mirror/outbox.hpp"

namespace crosslink::core::mirror {

/// What is under way. A reader visits it, so that a call which it forgets does not compile.
namespace call {
struct Apply {};
struct StepBack {};
struct Sync {};
struct BeginSnapshot {};
struct StoreChunk {};
struct CheckSnapshot {};
struct SwitchSnapshot {};
struct DropSnapshot {};
struct Promote {};
struct OpenView {};
}  // namespace call
using EngineCall =
    std::variant<call::Apply, call::StepBack, call::Sync, call::BeginSnapshot, call::StoreChunk, call::CheckSnapshot,
                 call::SwitchSnapshot, call::DropSnapshot, call::Promote, call::OpenView>;

struct NextCall {
  EngineCall which;
  MirrorAction action;
};

class EngineCalls {
 public:
  /// `out` must outlive this.
  EngineCalls(Outbox& out, EngineMark mark, Retry retry, Duration sync_every)
      : out_(&out), mark_(std::move(mark)), retry_(retry), sync_every_(sync_every) {}

  void start(NextCall next);
  /// It has answered. Precondition: busy().
  EngineCall take() { return *std::exchange(under_way_, std::nullopt); }
  bool busy() const { return under_way_.has_value(); }
  template <class Call>
  bool is() const {
    return under_way_ && std::holds_alternative<Call>(*under_way_);
  }

  /// It answered. True: it has lost what it had applied.
  bool on_answer(const EngineMark& mark);
  /// It failed, and may succeed later.
  void on_storage_error(const MirrorError& error, Instant now);
  /// It failed for good: of what it holds nothing more is asked until an operator decides.
  void refuse() { refused_ = true; }
  void accept_again() { refused_ = false; }
  bool refused() const { return refused_; }
  /// Where it stands is not known until it says so.
  void reread() { reread_wanted_ = true; }
  bool unknown() const { return reread_wanted_; }
  /// It has said so. True: it had been asked.
  bool on_reread() { return std::exchange(reread_wanted_, false); }
  /// None of its calls waits to be tried again; if one does, the driver is asked to wake then.
  bool may_call(Instant now) const { return retry_.due(now, *out_); }
  /// What is applied is to be made durable now. `at_once`: a source waits for it.
  bool wants_sync(bool at_once, Instant now);
  void retry_at_once() { retry_.clear(); }

  const std::optional<Position>& position() const { return mark_.position; }
  Lsn applied() const { return mark_.position ? mark_.position->applied_lsn : Lsn{}; }
  Lsn durable() const { return mark_.durable; }
  /// As MirrorState::inconsistent.
  bool inconsistent() const { return mark_.inconsistent; }
  const std::optional<PromotedFrom>& promoted_from() const { return mark_.promoted_from; }
  /// Of the call that is tried again.
  const std::optional<MirrorError>& storage_error() const { return storage_error_; }

  /// For Mistake::position_outside_group.
  void set_position(const Position& position) { mark_.position = position; }

 private:
  Outbox* out_;
  EngineMark mark_;
  Retry retry_;
  Duration sync_every_;
  std::optional<EngineCall> under_way_;
  std::optional<MirrorError> storage_error_;
  std::optional<Instant> dirty_since_;  ///< applied is ahead of durable
  bool reread_wanted_ = false, refused_ = false;
};

}  // namespace crosslink::core::mirror
