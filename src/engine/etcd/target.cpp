// Is the target still what it was? Its revisions and its record tell; its cluster id does not: a member that was
// emptied keeps it, and so does one that was restored from a backup.
#include <fmt/format.h>

#include <utility>

#include "engine/etcd/etcd_impl.hpp"

namespace crosslink {

using namespace etcd;

namespace {

constexpr std::chrono::seconds record_every(2);
/// A restart of a member is no news; a target that is silent for longer keeps nothing that is promised of it.
constexpr std::chrono::seconds target_silence_max(5);

Lsn applied_in(const Record& record) {
  return record.position && !record.bootstrapping ? record.position->applied_lsn : Lsn{};
}

}  // namespace

bool EtcdDatabase::Impl::is_gone_back(const Found& found) const {
  if (record_revision == 0) return false;  // there was none
  if (!found.record || found.record_revision < record_revision) return true;
  if (found.record->write_id == record.write_id) return false;
  if (found.record_revision == record_revision) return true;
  // As many revisions, or more, that are of another time: under our own epoch no other node writes, and we do not go
  // back.
  const bool ours = own_epoch > 0 && found.record->owner == options.node && found.record->epoch <= own_epoch;
  return ours && !uncertain && applied_in(*found.record) < applied_in(record);
}

MirrorError EtcdDatabase::Impl::take_gone_back(const Found& found) {
  expect_again();
  const auto was = applied_in(record);
  const auto& now = found.record ? found.record->position : std::nullopt;
  auto note = !now ? fmt::format(
                         "the target was emptied, or restored from a backup that is older than this mirror: it "
                         "had LSN {} and holds no record of it now; everything is copied anew",
                         was.value)
                   : fmt::format(
                         "the target was restored from a backup: it had LSN {} and is at LSN {} now, from where "
                         "the mirror goes on",
                         was.value, now->applied_lsn.value);
  moved = true;
  uncertain = false;
  use_keys(found.record ? found.record->prefix : std::string(), found.record ? found.record->source_prefix : "");
  {
    const std::scoped_lock holding(mutex);
    ownership.owned = false;
    record = found.record.value_or(Record{});
    record_revision = found.record_revision;
    ++target_gone_back;
    ++counted.target_gone_back;
    gone_back_note = note;
    gone_back_from = std::max(gone_back_from, was);
    // Of its revisions nothing is true that was known of them.
    accounted_revision = 0;
    unexplained.reset();
    compacted_to = found_compacted = Lsn{};
  }
  history_changed();
  const std::scoped_lock telling(history_mutex);
  if (on_moved) on_moved();
  return {ErrorKind::Busy, CausedBy::us, std::move(note)};
}

Result<void> EtcdDatabase::check_target() {
  if (impl_->root) return {};
  const std::unique_lock writing(impl_->write_mutex, std::try_to_lock);
  // Without the lock a transaction may be under way, which compares the record; whether the target answers is another
  // question.
  const auto found = impl_->look();
  if (!found) return found.error();
  if (!writing || !impl_->is_mirror()) return {};
  if (impl_->is_gone_back(*found)) return impl_->take_gone_back(*found);
  impl_->hear_of_promotion(*found);
  return {};
}

/// By another node. An idle standby calls nothing that would tell it.
void EtcdDatabase::Impl::hear_of_promotion(const Found& found) {
  if (check_promoted(found)) return;
  const std::scoped_lock telling(history_mutex);
  if (on_moved) on_moved();
}

void EtcdDatabase::Impl::watch_record() {
  const auto now = std::chrono::steady_clock::now();
  if (now - record_read_at < record_every) return;
  record_read_at = now;
  const std::unique_lock writing(write_mutex, std::try_to_lock);
  if (!writing || !is_mirror()) return;
  const auto found = look();
  if (!found) return on_target_silent();
  target_answered_at = std::chrono::steady_clock::now();
  target_silent = false;
  if (is_gone_back(*found)) {
    static_cast<void>(take_gone_back(*found));  // the mirror was told by on_moved
  } else {
    hear_of_promotion(*found);
  }
}

/// The mirror reads its position anew, which fails as long as the target is silent: its status says so, and its lag is
/// unknown.
void EtcdDatabase::Impl::on_target_silent() {
  const auto now = std::chrono::steady_clock::now();
  if (target_silent || now - target_answered_at < target_silence_max) return;
  target_silent = true;
  look_first = true;
  const std::scoped_lock telling(history_mutex);
  if (on_moved) on_moved();
}

void EtcdDatabase::watch_position(std::function<void()> on_moved) {
  const std::scoped_lock telling(impl_->history_mutex);
  impl_->on_moved = std::move(on_moved);
}

}  // namespace crosslink
