#include "engine/etcd/history.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <thread>
#include <utility>

#include "engine/etcd/record.hpp"

namespace crosslink::etcd {
namespace {

constexpr std::size_t cursors_max = 4;
constexpr Lsn first_revision{1};
constexpr std::chrono::milliseconds ask_every(50);
constexpr std::size_t leases_known_max = 100'000;
/// A server that has nothing to do answers a request for progress at once.
constexpr std::chrono::seconds progress_within(3), unanswered_for(60);

/// A server drops a request for progress while the watch is behind, and answers with what the member has, which may be
/// less than what is waited for.
std::jthread ask_often(WatchStream& watch) {
  return std::jthread([&watch](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any woken;
    std::unique_lock lock(mutex);
    while (!stop.stop_requested()) {
      if (!watch.ask_progress()) return;
      woken.wait_for(lock, stop, ask_every, [] { return false; });
    }
  });
}

/// Takes the events of one revision after another.
class BlockMaker {
 public:
  BlockMaker(const LogOrigin& origin, Lsn prev, Lsn origin_lsn, bool by_revision)
      : origin_(&origin), by_revision_(by_revision) {
    begin(prev, origin_lsn);
  }
  void add(std::span<const wire::Event* const> events, Lsn lsn) {
    const bool mirror = !origin_->position_key.empty();
    names_.clear();
    operations_.clear();
    names_.reserve(events.size());
    if (!mirror) slice_.origin_lsn = lsn;
    for (const auto* event : events) {
      const auto& kv = event->kv();
      if (mirror && kv.key() == origin_->position_key) {
        const auto record = decode_record(kv.value());
        if (record && record->position) slice_.origin_lsn = record->position->origin_lsn;
      }
      if (origin_->keys.contains(kv.key())) add(*event);
    }
    slice_.last_lsn = lsn;
    if (!operations_.empty()) {
      const auto begin = bytes_.size();
      encode_entry(bytes_, lsn, 0, operations_);
      ++slice_.count;
      last_begin_ = begin;
    }
    if (by_revision_) end_block();
  }
  Result<std::vector<Block>> take() {
    if (failed_) return *failed_;
    if (slice_.last_lsn > slice_.prev_lsn) end_block();
    return std::move(blocks_);
  }

 private:
  void add(const wire::Event& event) {
    const auto& kv = event.kv();
    std::string_view key = kv.key();
    if (origin_->keys.prefix != origin_->keys.offered_prefix) key = names_.emplace_back(origin_->keys.offered(key));
    if (event.type() == wire::Event::DELETE) {
      operations_.push_back(Operation::erase(key));
      return;
    }
    std::optional<std::uint64_t> lease;
    if (kv.lease() != 0) {
      lease = static_cast<std::uint64_t>(kv.lease());
      const auto grant = origin_->leases->grant_of(kv.lease());
      if (!grant) {
        failed_ = grant.error();
      } else if (*grant) {
        slice_.leases.push_back(**grant);
      }
    }
    operations_.push_back(Operation::put(key, kv.value(), lease));
  }
  void begin(Lsn prev, Lsn origin_lsn) {
    slice_ = LogSlice{prev, prev, 0, nullptr, origin_lsn};
    bytes_.clear();
    last_begin_.reset();
  }
  void end_block() {
    Block block{slice_, {}};
    if (last_begin_) {
      auto rest = std::span<const std::byte>(bytes_).subspan(*last_begin_);
      block.last_entry = read_entry(rest)->id();
    }
    block.slice.entries = std::make_shared<const std::vector<std::byte>>(std::move(bytes_));
    blocks_.push_back(std::move(block));
    begin(slice_.last_lsn, slice_.origin_lsn);
  }
  const LogOrigin* origin_;
  bool by_revision_;
  LogSlice slice_;
  std::vector<std::byte> bytes_;
  std::optional<std::size_t> last_begin_;
  std::vector<std::string> names_;
  std::vector<Operation> operations_;
  std::vector<Block> blocks_;
  std::optional<MirrorError> failed_;
};

}  // namespace

Result<std::optional<LeaseGrant>> LeaseBook::grant_of(std::int64_t lease) {
  const std::scoped_lock lock(mutex_);
  auto known = ttl_s_.find(lease);
  if (known == ttl_s_.end()) {
    const auto asked = client_->time_to_live(lease);
    if (!asked && asked.error().kind() == ErrorKind::Storage) return asked.error();
    if (!asked || asked->ttl_s() < 0 || asked->granted_ttl_s() <= 0) return std::optional<LeaseGrant>();
    if (ttl_s_.size() >= leases_known_max) ttl_s_.clear();
    known = ttl_s_.emplace(lease, static_cast<std::uint64_t>(asked->granted_ttl_s())).first;
  }
  return std::optional(LeaseGrant{static_cast<std::uint64_t>(lease), known->second});
}

Result<LogOrigin::Watch> LogOrigin::watch(const Client::Place& place, Scope of, std::int64_t from) const {
  const auto range = of == Scope::everything ? KeySpace::OwnRange{first_key, no_end} : keys.all();
  auto opened = WatchStream::open_at(place, client, range.key, range.range_end, from);
  if (!opened) return opened.error();
  (*opened)->limit_revision(revision_bytes_max);
  return Watch{*std::move(opened), of, client->loses_deletes_at(place)};
}

std::optional<bool> ProgressBook::answers(std::size_t endpoint) const {
  const std::scoped_lock lock(mutex_);
  const auto found = noted_.find(endpoint);
  if (found == noted_.end()) return std::nullopt;
  const auto& noted = found->second;
  // It may have been busy only.
  if (!noted.answers && std::chrono::steady_clock::now() - noted.at > unanswered_for) return std::nullopt;
  return noted.answers;
}

void ProgressBook::note(std::size_t endpoint, bool answers) {
  const std::scoped_lock lock(mutex_);
  noted_.insert_or_assign(endpoint, Noted{answers, std::chrono::steady_clock::now()});
}

/// `etcd grpc-proxy` takes requests for progress, and nothing comes of them.
Result<bool> LogOrigin::answers_progress(const Client::Place& place) const {
  if (const auto known = progress->answers(place.endpoint)) return *known;
  wire::RangeRequest request;
  request.set_key(keys.prefix.empty() ? first_key : keys.prefix);
  request.set_count_only(true);
  const auto newest = client->range(request);
  if (!newest) return newest.error();
  // Not from a revision that is to come: of such a one no progress is told.
  auto opened = watch(place, Scope::asked_progress, newest->header().revision());
  if (!opened) return opened.error();
  auto& stream = *opened->stream;
  bool answered = false;
  std::atomic<bool> late = false;
  {
    const auto asking = ask_often(stream);
    const std::jthread ending([&](const std::stop_token& stop) {
      std::mutex mutex;
      std::condition_variable_any woken;
      std::unique_lock lock(mutex);
      woken.wait_for(lock, stop, progress_within, [] { return false; });
      if (stop.stop_requested()) return;
      late = true;
      stream.cancel();
    });
    for (;;) {
      const auto response = stream.read();
      if (!response && !late) return response.error();
      if (!response) break;
      answered = response->events_size() == 0 && !response->created();
      if (answered) break;
    }
  }
  progress->note(place.endpoint, answered);
  return answered;
}

Result<LogOrigin::Watch> LogOrigin::watch(std::int64_t from) const {
  const auto place = client->place();
  if (scope != Scope::asked_progress) return watch(place, scope, from);
  // Members are of several versions while a cluster is upgraded.
  const auto version = client->version_at(place);
  if (!version) return version.error();
  if (version->progress_is_ordered()) {
    const auto answers = answers_progress(place);
    if (!answers) return answers.error();
    if (*answers) return watch(place, scope, from);
  }
  auto all = watch(place, Scope::everything, from);
  if (all || all.error().kind() != ErrorKind::NotAuthorized) return all;
  return watch(place, Scope::own_events_only, from);
}

Result<std::vector<Block>> blocks_of(const LogOrigin& origin, const wire::WatchResponse& response, Lsn prev,
                                     Lsn origin_lsn, bool by_revision) {
  BlockMaker maker(origin, prev, origin_lsn, by_revision);
  std::vector<const wire::Event*> events;
  for (int i = 0; i < response.events_size(); ++i) {
    const auto& event = response.events(i);
    events.push_back(&event);
    const bool revision_ends =
        i + 1 == response.events_size() || response.events(i + 1).kv().mod_revision() != event.kv().mod_revision();
    if (!revision_ends) continue;
    const auto lsn = lsn_of(event.kv().mod_revision());
    if (lsn > prev) maker.add(events, lsn);
    events.clear();
  }
  return maker.take();
}

Result<Lsn> newest_if_kept(Client& client, const KeySpace& keys, Lsn after) {
  wire::RangeRequest request;
  request.set_key(keys.prefix.empty() ? first_key : keys.prefix);
  request.set_revision(static_cast<std::int64_t>(std::max(after, first_revision).value));
  request.set_count_only(true);
  const auto read = client.range(request);
  if (!read) return read.error();
  return lsn_of(read->header().revision());
}

Lsn come_to(const wire::WatchResponse& response) {
  if (response.events_size() > 0) return lsn_of(response.events(response.events_size() - 1).kv().mod_revision());
  // Without events it is a notification: one of the server's own accord, or one that was asked for where that is right.
  return response.created() ? Lsn{} : lsn_of(response.header().revision());
}

// --- etcd's own history
// -------------------------------------------------------------------------------------------------

Result<PastLog::Cursor> PastLog::take(Lsn after, Lsn origin_lsn) {
  {
    const std::scoped_lock lock(mutex_);
    const auto found = std::ranges::find(cursors_, after, &Cursor::at);
    if (found != cursors_.end()) {
      auto cursor = std::move(*found);
      cursors_.erase(found);
      return cursor;
    }
  }
  return open(after, origin_lsn);
}

Result<PastLog::Cursor> PastLog::open(Lsn after, Lsn origin_lsn) {
  if (!origin_.position_key.empty() && after > Lsn{0}) {
    wire::RangeRequest request;
    request.set_key(origin_.position_key);
    request.set_revision(static_cast<std::int64_t>(after.value));
    const auto read = origin_.client->range(request);
    if (!read) return read.error();
    const auto record = read->kvs_size() > 0 ? decode_record(read->kvs(0).value()) : Result<Record>(Record{});
    if (record && record->position) origin_lsn = record->position->origin_lsn;
  }
  auto watch = origin_.watch(static_cast<std::int64_t>(after.value) + 1);
  if (!watch) return watch.error();
  if (watch->scope == LogOrigin::Scope::own_events_only && origin_.scope != watch->scope)
    return storage_error("this member, of an older version or behind a proxy, cannot say how far a watch has come");
  return Cursor{after, after, origin_lsn, *std::move(watch), {}};
}

Result<void> PastLog::fill(Cursor& cursor, Lsn target) {
  std::jthread asking;
  if (cursor.watch.scope == LogOrigin::Scope::asked_progress) asking = ask_often(*cursor.watch.stream);
  const auto has_entry = [&] {
    return std::ranges::any_of(cursor.blocks, [](const Block& block) { return block.slice.count > 0; });
  };
  while (cursor.read_to < target && !has_entry()) {
    const auto response = cursor.watch.stream->read();
    if (!response) return response.error();
    if (cursor.watch.loses_deletes) {
      if (const auto kept = newest_if_kept(*origin_.client, origin_.keys, cursor.read_to); !kept) return kept.error();
    }
    auto blocks = blocks_of(origin_, *response, cursor.read_to, cursor.origin_lsn, true);
    if (!blocks) return blocks.error();
    for (auto& block : *blocks) {
      cursor.origin_lsn = block.slice.origin_lsn;
      cursor.read_to = block.slice.last_lsn;
      auto* const last = cursor.blocks.empty() ? nullptr : &cursor.blocks.back();
      if (last != nullptr && last->slice.count == 0 && block.slice.count == 0 && block.slice.last_lsn <= target) {
        last->slice.last_lsn = block.slice.last_lsn;
        last->slice.origin_lsn = block.slice.origin_lsn;
        continue;
      }
      cursor.blocks.push_back(std::move(block));
    }
    if (const auto come = come_to(*response); come > cursor.read_to && origin_.position_key.empty()) {
      cursor.blocks.push_back({{cursor.read_to, come, 0, std::make_shared<const std::vector<std::byte>>(), come}, {}});
      cursor.read_to = come;
    }
  }
  return {};
}

Result<LogSlice> PastLog::read(Lsn after, Lsn target, std::size_t bytes_max, Lsn origin_lsn) {
  const auto forgotten = [this] {
    const std::scoped_lock lock(mutex_);
    return forgotten_;
  }();
  auto taken = take(after, origin_lsn);
  if (!taken) return taken.error();
  auto cursor = *std::move(taken);
  if (auto filled = fill(cursor, target); !filled) {
    // A watch that was kept open may have ended long ago.
    auto again = open(after, origin_lsn);
    if (!again) return again.error();
    cursor = *std::move(again);
    if (filled = fill(cursor, target); !filled) return filled.error();
  }
  LogSlice slice{after, after, 0, nullptr, cursor.origin_lsn};
  std::vector<std::byte> joined;
  while (!cursor.blocks.empty() && slice.last_lsn < target) {
    auto& front = cursor.blocks.front().slice;
    const bool fits = slice.count == 0 || joined.size() + front.entries->size() <= bytes_max;
    if (!fits || (slice.count > 0 && joined.size() > bytes_max)) break;
    if (front.last_lsn > target && front.count > 0) break;
    if (front.count > 0 && front.entries->size() > bytes_max && slice.count == 0 && slice.last_lsn > after) break;
    joined.insert(joined.end(), front.entries->begin(), front.entries->end());
    slice.count += front.count;
    slice.leases.insert(slice.leases.end(), front.leases.begin(), front.leases.end());
    slice.last_lsn = std::min(front.last_lsn, target);
    slice.origin_lsn = front.last_lsn > target && origin_.position_key.empty() ? target : front.origin_lsn;
    if (front.last_lsn > target) {
      front.prev_lsn = target;
      break;
    }
    cursor.blocks.pop_front();
  }
  slice.entries = std::make_shared<const std::vector<std::byte>>(std::move(joined));
  cursor.at = slice.last_lsn;
  const std::scoped_lock lock(mutex_);
  if (forgotten_ != forgotten) return slice;
  cursors_.push_front(std::move(cursor));
  if (cursors_.size() > cursors_max) cursors_.pop_back();
  return slice;
}

void PastLog::forget() {
  const std::scoped_lock lock(mutex_);
  cursors_.clear();
  ++forgotten_;
}

Result<bool> PastLog::holds(Lsn after) {
  const auto read = newest_if_kept(*origin_.client, origin_.keys, after);
  if (read) return true;
  if (read.error().kind() == ErrorKind::LogWindowExceeded) return false;
  return read.error();
}

Result<Lsn> PastLog::oldest(Lsn known_gone, Lsn known_held) {
  const auto from_start = holds(Lsn{0});
  if (!from_start) return from_start.error();
  if (*from_start) return Lsn{0};
  auto gone = std::max<std::uint64_t>(known_gone.value, 1), held = known_held.value;
  while (gone + 1 < held) {
    const auto middle = gone + (held - gone) / 2;
    const auto there = holds(Lsn{middle});
    if (!there) return there.error();
    (*there ? held : gone) = middle;
  }
  return Lsn{held};
}

}  // namespace crosslink::etcd
