// Calls of a mirror's engine that fail, and what must follow: what fails for good is said and not asked again before an
// operator decides; what may pass is not asked again without a wait.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "session/mirror/mirror_machine.hpp"
#include "sim/world.hpp"

namespace crosslink::sim {

class EngineFaults {
 public:
  EngineFaults(World& world, std::string name) : world_(&world), name_(std::move(name)) {}

  /// Calls of some kind fail for good from now on, until mend().
  void refuse_some();
  void mend() { refuses_.reset(); }
  /// What this call is answered, absent: what the engine says.
  std::optional<MirrorError> refusal(const core::MirrorAction& call);

  /// Around each call that is carried out; `now` is the mirror's clock.
  void before(const core::MirrorAction& call, core::Instant now) const;
  void after(const core::MirrorAction& call, const Result<core::EngineAnswer>& answer, core::Instant now);
  void check(const MirrorStatus& status) const;

  void on_start();
  /// The operator decided that it be asked again; `resync`: and that what came of the snapshot counts no more.
  void on_operator(bool resync);
  /// The operator wants no more waiting for the disk.
  void on_resume();

 private:
  World* world_;
  std::string name_;
  std::optional<std::size_t> refuses_;  ///< an index of core::MirrorAction
  std::optional<std::string> refused_;  ///< for good, and the operator has not decided since
  std::optional<core::Instant> failed_at_;
  bool dropped_ = false;  ///< what the call under way is about
};

}  // namespace crosslink::sim
