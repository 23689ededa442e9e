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
/// A state that was last asked for so long ago is not kept current any more.
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
  const auto head = lsn_of(*newest);
  const auto oldest = history_.oldest(Lsn{0}, head);
  if (!oldest) return oldest.error();
  compacted_ = oldest->value;
  auto from = std::max(*oldest, Lsn{head.value - std::min(head.value, revisions_looked_back)});
  // A user that may not read everything sees the keys of the database only.
  auto probe = origin_.watch(*newest + 1);
  if (!probe && probe.error().kind() == ErrorKind::NotAuthorized && origin_.scope == LogOrigin::Scope::everything) {
    origin_.scope = LogOrigin::Scope::own_events_only;
    probe = origin_.watch(*newest + 1);
  }
  if (!probe) return probe.error();
  if (probe->scope == LogOrigin::Scope::own_events_only) from = head;
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
    auto ended = read_watch(true);
    // The witness may have been compacted, and what comes after the head may not.
    if (ended.error().kind() == ErrorKind::LogWindowExceeded) ended = read_watch(false);
    bool back = false, too_large = false;
    {
      const std::scoped_lock lock(mutex_);
      too_large = watch_ && watch_->met_large_revision();
      watch_.reset();
      if (stopping_) return;
      watch_trouble_ = ended.error().message();
      back = has_gone_back_;
    }
    if (back) {
      if (gone_back()) continue;
    } else if (ended.error().kind() == ErrorKind::LogWindowExceeded) {
      lost_window();
    } else if (too_large) {
      skip(ended.error());
    }
    delay = store_->head() > head ? retry_min : std::min(2 * delay, retry_max);
    if (!pause(delay)) return;
  }
}

/// Always ends with an error. `proving`: it begins at the witness, which must be there.
Result<void> Tail::read_watch(bool proving) {
  const auto head = store_->head();
  const auto newest = newest_revision();
  if (!newest) return newest.error();
  if (lsn_of(*newest) < head) return note_gone_back();
  proving = proving && witness_;
  auto opened = origin_.watch(static_cast<std::int64_t>(proving ? witness_->revision.value : head.value + 1));
  if (!opened) return opened.error();
  const std::shared_ptr<WatchStream> watch = std::move(opened->stream);
  {
    const std::scoped_lock lock(mutex_);
    watch_ = watch;
    watch_scope_ = opened->scope;
    watch_trouble_.clear();
    if (stopping_ || has_gone_back_) return storage_error("it is closed");
  }
  bool doubtful = opened->loses_deletes;
  for (bool opening = true;; opening = false) {
    // Such a server says nothing when a compaction lands on the revision that it reads next for a watch: whether it did
    // is asked before an answer is believed, until the watch has come to the newest revision.
    Lsn there;
    if (doubtful && opening) {
      const auto unbroken = newest_if_kept(*origin_.client, origin_.keys, head);
      if (!unbroken) return unbroken.error();
    }
    const auto response = watch->read();
    if (!response) return response.error();
    if (doubtful) {
      const auto unbroken = newest_if_kept(*origin_.client, origin_.keys, store_->head());
      if (!unbroken) return unbroken.error();
      there = *unbroken;
    }
    if (proving) {
      const auto found = finds(*witness_, *response);
      if (found && !*found) return note_gone_back();
      proving = !found;
    }
    if (auto taken = take(*response); !taken) return taken;
    if (doubtful) doubtful = store_->head() < there;
  }
}

MirrorError Tail::note_gone_back() {
  const std::scoped_lock lock(mutex_);
  has_gone_back_ = true;
  return storage_error("the cluster is in an earlier state than it was read in");
}

Tail::Witness Tail::witness_of(std::span<const wire::Event* const> events) {
  PairDigest digest;
  for (const auto* event : events)
    digest.add(event->kv().key(), event->SerializeAsString());
  return {lsn_of(events.front()->kv().mod_revision()), digest.digest()};
}

/// Absent: what has come does not say.
std::optional<bool> Tail::finds(const Witness& witness, const wire::WatchResponse& response) {
  const auto& events = response.events();
  if (events.empty()) return come_to(response) < witness.revision ? std::nullopt : std::optional(false);
  const auto other = std::ranges::find_if(
      events, [&](const auto& event) { return event.kv().mod_revision() != events.begin()->kv().mod_revision(); });
  const auto count = static_cast<std::size_t>(other - events.begin());
  return witness_of(std::span(events.data(), count)) == witness;
}

Result<void> Tail::take(const wire::WatchResponse& response) {
  auto head = store_->head();
  auto blocks = blocks_of(origin_, response, head, head, false);
  if (!blocks) return blocks.error();
  for (auto& block : *blocks) {
    head = block.slice.last_lsn;
    store_->append(std::move(block));
  }
  const auto& events = response.events();
  if (!events.empty()) {
    const auto last = events.rbegin()->kv().mod_revision();
    const auto other = std::find_if(events.rbegin(), events.rend(),
                                    [&](const auto& event) { return event.kv().mod_revision() != last; });
    const auto count = static_cast<std::size_t>(other - events.rbegin());
    witness_ = witness_of(std::span(events.data(), static_cast<std::size_t>(events.size())).last(count));
  }
  if (const auto come = come_to(response); come > head) {
    store_->append({{head, come, 0, std::make_shared<const std::vector<std::byte>>(), come}, {}});
    head = come;
  } else if (events.empty()) {
    return {};
  }
  head_moved(head);
  return {};
}

void Tail::head_moved(Lsn head) {
  {
    const std::scoped_lock lock(tell_mutex_);
    if (on_head_) on_head_(head);
  }
  const std::scoped_lock lock(mutex_);
  changed_.notify_all();
}

/// What came since was compacted before it was read: every mirror bootstraps anew.
void Tail::lost_window() {
  const auto newest = newest_revision();
  if (!newest) return;
  const auto at = lsn_of(*newest);
  witness_.reset();
  store_->begin_at(at, std::nullopt);
  compacted_ = at.value;
  head_moved(at);
}

/// Of a revision that cannot be held: the log goes on behind it, so that it is not read for ever.
void Tail::skip(const MirrorError& too_large) {
  lost_window();
  const std::scoped_lock lock(mutex_);
  skipped_ = fmt::format(
      "{}: the log was cut there, and mirrors bootstrap anew; write or delete so much in several "
      "transactions",
      too_large.message());
}

/// What was read counts no longer, and every mirror must be judged anew. False: could not be found out yet.
bool Tail::gone_back() {
  const auto newest = newest_revision();
  if (!newest) return false;
  const auto at = lsn_of(*newest);
  const auto oldest = history_.oldest(Lsn{0}, at);
  if (!oldest) return false;
  witness_.reset();
  history_.forget();
  ++times_gone_back_;  // before the log changes: who finds it changed must find this too
  compacted_ = oldest->value;
  store_->begin_at(at, std::nullopt);
  {
    const std::scoped_lock lock(mutex_);
    has_gone_back_ = false;
    asked_.clear();
    complete_at_.reset();
  }
  {
    const std::scoped_lock lock(tell_mutex_);
    if (on_gone_back_) on_gone_back_();
  }
  head_moved(at);
  return true;
}

void Tail::watch_gone_back(std::function<void()> on_gone_back) {
  const std::scoped_lock lock(tell_mutex_);
  on_gone_back_ = std::move(on_gone_back);
}

void Tail::watch_head(std::function<void(Lsn head)> on_head) {
  const std::scoped_lock lock(tell_mutex_);
  on_head_ = std::move(on_head);
}

Result<void> Tail::wait_for(Lsn lsn, std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  if (changed_.wait_for(lock, patience, [&] { return store_->head() >= lsn; })) return {};
  return storage_error(fmt::format("the watch has come to revision {}, not to {}{}{}", store_->head().value, lsn.value,
                                   trouble().empty() ? "" : ": ", trouble()));
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
  const auto before = store_->head();
  const auto newest = newest_revision();
  std::shared_ptr<WatchStream> stuck, asked;
  {
    const std::scoped_lock lock(mutex_);
    poll_trouble_ = newest ? std::string() : newest.error().message();
    if (!newest) return;
    if (lsn_of(*newest) < before && store_->head() >= before) {
      has_gone_back_ = true;
      if (watch_) watch_->cancel();
      return;
    }
    const auto head = store_->head();
    while (!asked_.empty() && asked_.front().revision <= head) {
      complete_at_ = asked_.front().at;
      asked_.pop_front();
    }
    const auto revision = lsn_of(*newest);
    if (revision <= head && asked_.empty()) complete_at_ = at;
    if (revision > head && asked_.size() < asked_max) asked_.push_back({at, revision});
    const bool late = !asked_.empty() && Clock::now() - asked_.front().at > stuck_after;
    if (late && watch_scope_ != LogOrigin::Scope::own_events_only) stuck = watch_;
    if (stuck && watch_scope_ == LogOrigin::Scope::everything) stuck_at_ = head;
    if (revision <= head) stuck_at_.reset();
    if (revision > head && watch_scope_ == LogOrigin::Scope::asked_progress) asked = watch_;
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

/// With `mutex_` held.
const std::string& Tail::trouble() const { return watch_trouble_.empty() ? poll_trouble_ : watch_trouble_; }

std::string Tail::detail() const {
  const std::scoped_lock lock(mutex_);
  std::string text;
  if (!trouble().empty()) text = fmt::format("the watch of etcd waits: {}", trouble());
  if (stuck_at_) {
    text += fmt::format(
        "{}the watch does not come beyond revision {}: where etcd's grpc-proxy with --namespace stands "
        "before it, name the members themselves, since the proxy hides revisions and so the data's age",
        text.empty() ? "" : "; ", stuck_at_->value);
  }
  if (!skipped_.empty()) text += (text.empty() ? "" : "; ") + skipped_;
  if (origin_.scope == LogOrigin::Scope::own_events_only || watch_scope_ == LogOrigin::Scope::own_events_only) {
    text += text.empty() ? "" : "; ";
    text +=
        "this etcd (older than 3.4.32 or 3.5.13, or behind etcd's grpc-proxy) can say how far a watch has come only to "
        "who may read all keys, which we may not: how old the newest revision is stays unknown";
  }
  return text;
}

}  // namespace crosslink::etcd
