#include "engine/etcd/tail.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "crosslink/types.hpp"

namespace crosslink::etcd {
namespace {

/// Entries this far back are read at the start: the last one proves where mirrors stand. Each may be of megabytes.
constexpr std::uint64_t revisions_looked_back = 1000;
constexpr std::chrono::milliseconds poll_often(40), poll_seldom(1000), retry_min(50), retry_max(2000);
/// A state that was asked for so long ago is of interest to nobody.
constexpr std::chrono::seconds interest(5);
/// A watch that did not bring what the cluster has for so long, though it can be asked, is stuck.
constexpr std::chrono::seconds stuck_after(3);
constexpr std::chrono::seconds window_every(5);
constexpr std::size_t asked_max = 256;
constexpr std::chrono::seconds start_patience(30);
constexpr Lsn first_revision{1};

}  // namespace

Tail::~Tail() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    if (watch_) watch_->cancel();
  }
  changed_.notify_all();
  if (follower_.joinable()) follower_.join();
  if (poller_.joinable()) poller_.join();
}

Result<std::int64_t> Tail::newest_revision() {
  wire::RangeRequest request;
  request.set_key(origin_.keys.prefix.empty() ? first_key : origin_.keys.prefix);
  request.set_count_only(true);
  const auto read = origin_.client->range(request);
  if (!read) return read.error();
  return read->header().revision();
}

Result<void> Tail::start() {
  const auto newest = newest_revision();
  if (!newest) return newest.error();
  const Lsn head{static_cast<std::uint64_t>(*newest)};
  const auto oldest = history_.oldest(Lsn{0}, head);
  if (!oldest) return oldest.error();
  compacted_ = oldest->value;
  auto from = std::max(*oldest, Lsn{head.value - std::min(head.value, revisions_looked_back)});
  // Whoever may not read everything sees the keys of the database only.
  auto probe = origin_.watch(*newest + 1);
  if (!probe && probe.error().kind() == ErrorKind::NotAuthorized && origin_.scope == LogOrigin::Scope::everything) {
    origin_.scope = LogOrigin::Scope::own_events_only;
    probe = origin_.watch(*newest + 1);
  }
  if (!probe) return probe.error();
  if (origin_.scope == LogOrigin::Scope::own_events_only) from = head;
  std::optional<EntryId> last;
  if (from == Lsn{0}) last.emplace();
  store_->begin_at(from, last);
  // An etcd begins at revision 1, which holds nothing and of which no watch tells.
  if (from < first_revision)
    store_->append({{from, first_revision, 0, std::make_shared<const std::vector<std::byte>>(), first_revision}, {}});
  follower_ = std::thread([this] { follow(); });
  poller_ = std::thread([this] { poll(); });
  return wait_for(head, start_patience);
}

// --- the watch
// -------------------------------------------------------------------------------------------------

bool Tail::pause(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, time, [this] { return stopping_; });
}

void Tail::follow() {
  auto delay = retry_min;
  for (;;) {
    const auto head = store_->head();
    const auto ended = read_watch();
    {
      const std::scoped_lock lock(mutex_);
      watch_.reset();
      if (stopping_) return;
      trouble_ = ended.error().message();
    }
    if (ended.error().kind() == ErrorKind::LogWindowExceeded) lost_window();
    delay = store_->head() > head ? retry_min : std::min(2 * delay, retry_max);
    if (!pause(delay)) return;
  }
}

/// Always ends with an error.
Result<void> Tail::read_watch() {
  auto opened = origin_.watch(static_cast<std::int64_t>(store_->head().value) + 1);
  if (!opened) return opened.error();
  const std::shared_ptr<WatchStream> watch = *std::move(opened);
  {
    const std::scoped_lock lock(mutex_);
    watch_ = watch;
    if (stopping_) return storage_error("it is closed");
  }
  for (;;) {
    const auto response = watch->read();
    if (!response) return response.error();
    {
      const std::scoped_lock lock(mutex_);
      trouble_.clear();
    }
    take(*response);
  }
}

void Tail::take(const wire::WatchResponse& response) {
  auto head = store_->head();
  for (auto& block : blocks_of(origin_, response, head, head, false)) {
    head = block.slice.last_lsn;
    store_->append(std::move(block));
  }
  if (const auto come = come_to(response); come > head) {
    store_->append({{head, come, 0, std::make_shared<const std::vector<std::byte>>(), come}, {}});
    head = come;
  } else if (response.events_size() == 0) {
    return;
  }
  head_moved(head);
}

void Tail::head_moved(Lsn head) {
  {
    const std::scoped_lock lock(tell_mutex_);
    if (on_head_) on_head_(head);
  }
  const std::scoped_lock lock(mutex_);
  changed_.notify_all();
}

/// What came since was compacted before it was read: whoever follows bootstraps anew.
void Tail::lost_window() {
  const auto newest = newest_revision();
  if (!newest) return;
  const Lsn at{static_cast<std::uint64_t>(*newest)};
  store_->begin_at(at, std::nullopt);
  compacted_ = at.value;
  head_moved(at);
}

void Tail::watch_head(std::function<void(Lsn head)> on_head) {
  const std::scoped_lock lock(tell_mutex_);
  on_head_ = std::move(on_head);
}

Result<void> Tail::wait_for(Lsn lsn, std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  if (changed_.wait_for(lock, patience, [&] { return store_->head() >= lsn; })) return {};
  return storage_error(fmt::format("the watch has come to revision {}, not to {}{}{}", store_->head().value, lsn.value,
                                   trouble_.empty() ? "" : ": ", trouble_));
}

// --- how old it may be
// -------------------------------------------------------------------------------------------------

void Tail::poll() {
  auto window_at = Clock::now();
  for (;;) {
    const auto wanted = Clock::time_point(Clock::duration(wanted_at_.load()));
    if (!pause(Clock::now() - wanted < interest ? poll_often : poll_seldom)) return;
    poll_once();
    if (Clock::now() - window_at < window_every) continue;
    window_at = Clock::now();
    static_cast<void>(look_at_window(false));  // tried again soon
  }
}

void Tail::poll_once() {
  const auto at = Clock::now();
  const auto newest = newest_revision();
  std::shared_ptr<WatchStream> stuck, asked;
  {
    const std::scoped_lock lock(mutex_);
    if (!newest) {
      trouble_ = newest.error().message();
      return;
    }
    const auto head = store_->head();
    while (!asked_.empty() && asked_.front().revision <= head) {
      complete_at_ = asked_.front().at;
      asked_.pop_front();
    }
    const Lsn revision{static_cast<std::uint64_t>(*newest)};
    if (revision <= head && asked_.empty()) complete_at_ = at;
    if (revision > head && asked_.size() < asked_max) asked_.push_back({at, revision});
    const bool late = !asked_.empty() && Clock::now() - asked_.front().at > stuck_after;
    if (late && origin_.scope != LogOrigin::Scope::own_events_only) stuck = watch_;
    if (revision > head && origin_.scope == LogOrigin::Scope::asked_progress) asked = watch_;
  }
  if (asked) static_cast<void>(asked->ask_progress());  // an error ends the watch, where it is seen
  if (stuck) {
    stuck->cancel();
    const std::scoped_lock lock(mutex_);
    asked_.clear();
  }
}

std::optional<std::chrono::microseconds> Tail::behind() const {
  wanted_at_ = Clock::now().time_since_epoch().count();
  const auto head = store_->head();
  const std::scoped_lock lock(mutex_);
  while (!asked_.empty() && asked_.front().revision <= head) {
    complete_at_ = asked_.front().at;
    asked_.pop_front();
  }
  if (!complete_at_) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - *complete_at_);
}

Lsn Tail::oldest() const {
  const auto kept = store_->oldest();
  // Without the right to read everything, nothing says where a stretch of the history ends.
  if (origin_.scope == LogOrigin::Scope::own_events_only) return kept;
  return std::min(kept, Lsn{compacted_.load()});
}

Result<void> Tail::look_at_window(bool drop_kept) {
  const auto held = history_.holds(Lsn{compacted_.load()});
  if (!held) return held.error();
  if (!*held) {
    const auto found = history_.oldest(Lsn{compacted_.load()}, store_->head());
    if (!found) return found.error();
    compacted_ = found->value;
  }
  if (drop_kept) store_->drop_kept();
  return {};
}

std::string Tail::remark() const {
  const std::scoped_lock lock(mutex_);
  std::string text;
  if (!trouble_.empty()) text = fmt::format("the watch of etcd waits: {}", trouble_);
  if (origin_.scope == LogOrigin::Scope::own_events_only) {
    text += text.empty() ? "" : "; ";
    text +=
        "this etcd (older than 3.4.32 or 3.5.13) can say how far a watch has come only to who may read all keys, which "
        "we may not: how old the newest revision is stays unknown";
  }
  return text;
}

}  // namespace crosslink::etcd
