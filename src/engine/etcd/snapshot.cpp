#include "engine/etcd/snapshot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/random_id.hpp"

namespace crosslink::etcd {

namespace {

/// Of room without which none is begun.
constexpr std::uint64_t chunk_of_pairs_bytes = std::uint64_t{1} << 20;

}  // namespace

/// One snapshot: a thread reads pages and appends pairs; readers wait for what they want.
class SnapshotStore::Writing {
 public:
  Writing(const Source& source, base::Files files, base::Path path, Options options,
          std::shared_ptr<std::atomic<std::uint64_t>> disk_bytes)
      : files_(std::move(files)),
        origin_(source.origin),
        facts_(source.facts),
        path_(std::move(path)),
        options_(std::move(options)),
        disk_bytes_(std::move(disk_bytes)) {}
  ~Writing() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    if (writer_.joinable()) writer_.join();
    *disk_bytes_ -= bytes_;
    file_.reset();
    static_cast<void>(files_.remove(path_));  // emptied at the start, else
  }
  Result<void> start() {
    if (auto room = make_room(chunk_of_pairs_bytes); !room) return room;
    auto file = files_.open_at(path_, 0);
    if (!file) return file.error();
    auto reading = files_.open_to_read(path_);
    if (!reading) return reading.error();
    file_.emplace(*std::move(file));
    written_ = *std::move(reading);
    writer_ = std::thread([this] {
      auto written = write();
      const std::scoped_lock lock(mutex_);
      if (!written) error_ = written.error();
      done_ = written.ok();
      grew_.notify_all();
    });
    return {};
  }
  const SnapshotFacts& facts() const { return facts_; }
  bool failed() const {
    const std::scoped_lock lock(mutex_);
    return error_.has_value();
  }

  Result<SnapshotReader::Piece> read(std::uint64_t offset, std::size_t bytes_max) {
    std::unique_lock lock(mutex_);
    // The last byte comes with the word that it is the last.
    grew_.wait(lock, [&] { return error_ || done_ || bytes_ > offset + bytes_max; });
    if (error_) return *error_;
    if (offset > bytes_) return MirrorError::configuration("a snapshot was read past its end");
    const auto bytes = std::min<std::uint64_t>(bytes_max, bytes_ - offset);
    SnapshotReader::Piece piece;
    piece.done = done_ && offset + bytes == bytes_;
    if (piece.done) piece.consistent_lsn = consistent_lsn_;
    const auto first = std::ranges::lower_bound(leases_, offset, {}, &Leased::at);
    for (auto one = first; one != leases_.end() && one->at <= offset + bytes; ++one)
      piece.leases.push_back(one->grant);
    lock.unlock();
    auto read = written_.read_exactly(offset, static_cast<std::size_t>(bytes));
    if (!read) return read.error();
    piece.bytes = std::make_shared<const std::vector<std::byte>>(*std::move(read));
    return piece;
  }

 private:
  Result<void> write() {
    Pages pages(*origin_.client, origin_.keys.all(), static_cast<std::int64_t>(facts_.snapshot_lsn.value));
    auto consistent = facts_.consistent_lsn;
    bool newest = false;
    for (;;) {
      {
        const std::scoped_lock lock(mutex_);
        if (stopping_) return storage_error("the snapshot is no longer wanted");
      }
      auto page = pages.next();
      if (!page && page.error().kind() == ErrorKind::LogWindowExceeded) {
        pages.go_on_at(0);
        newest = true;
        continue;
      }
      if (!page) return page.error();
      if (!*page) break;
      if (newest) consistent = std::max(consistent, lsn_of((*page)->header().revision()));
      if (auto appended = append(**page); !appended) return appended;
    }
    options_.shortage->end();
    const std::scoped_lock lock(mutex_);
    consistent_lsn_ = consistent;
    return {};
  }
  Result<void> make_room(std::uint64_t bytes) {
    auto room = options_.space->need(bytes, "writing a snapshot for a mirror");
    if (!room) options_.shortage->begin(room.error().message());
    return room;
  }
  Result<void> append(const wire::RangeResponse& page) {
    std::vector<std::byte> bytes;
    std::vector<Leased> leases;
    for (const auto& kv : page.kvs()) {
      if (!origin_.keys.contains(kv.key())) continue;
      KeyValue pair{kv.key(), kv.value(), std::nullopt};
      std::string renamed;
      if (origin_.keys.prefix != origin_.keys.offered_prefix) pair.key = renamed = origin_.keys.offered(kv.key());
      if (kv.lease() != 0) {
        pair.lease = static_cast<std::uint64_t>(kv.lease());
        // Before the pair's last byte: a piece that ends in the middle of the pair may as well tell it.
        const auto grant = origin_.leases->grant_of(kv.lease());
        if (!grant) return grant.error();
        if (*grant) leases.push_back({bytes_ + bytes.size(), **grant});
      }
      encode_pair(bytes, pair);
    }
    if (auto room = make_room(bytes.size()); !room) return room;
    *disk_bytes_ += bytes.size();
    if (*disk_bytes_ > options_.budget_bytes) {
      *disk_bytes_ -= bytes.size();
      return MirrorError(ErrorKind::Storage, CausedBy::us,
                         fmt::format("snapshots take more than the {} bytes allowed on disk", options_.budget_bytes));
    }
    if (auto written = file_->append(bytes); !written) {
      *disk_bytes_ -= bytes.size();
      return written;
    }
    const std::scoped_lock lock(mutex_);
    bytes_ += bytes.size();
    leases_.insert(leases_.end(), leases.begin(), leases.end());
    grew_.notify_all();
    return {};
  }

  struct Leased {
    std::uint64_t at;
    LeaseGrant grant;
  };
  const base::Files files_;
  const LogOrigin origin_;
  const SnapshotFacts facts_;
  const base::Path path_;
  const Options options_;
  const std::shared_ptr<std::atomic<std::uint64_t>> disk_bytes_;
  std::optional<base::AppendFile> file_;
  base::ReadFile written_;
  mutable std::mutex mutex_;
  std::condition_variable grew_;
  std::uint64_t bytes_ = 0;  ///< written by the writer only
  std::vector<Leased> leases_;
  Lsn consistent_lsn_;
  bool done_ = false, stopping_ = false;
  std::optional<MirrorError> error_;
  std::thread writer_;
};

namespace {

template <class Writing>
class Reader final : public SnapshotReader {
 public:
  explicit Reader(std::shared_ptr<Writing> writing) : writing_(std::move(writing)) {}
  const SnapshotFacts& facts() const override { return writing_->facts(); }
  Result<Piece> read(std::uint64_t offset, std::size_t bytes_max) override { return writing_->read(offset, bytes_max); }

 private:
  std::shared_ptr<Writing> writing_;
};

}  // namespace

SnapshotStore::~SnapshotStore() = default;

Result<std::shared_ptr<SnapshotReader>> SnapshotStore::read(Kept::Kept& kept) {
  return kept_.read(kept,
                    [](const std::shared_ptr<Writing>& writing) { return std::make_shared<Reader<Writing>>(writing); });
}

Result<std::shared_ptr<SnapshotReader>> SnapshotStore::open(const Source& source, std::span<const std::string> formats,
                                                            const std::optional<SnapshotId>& wanted) {
  if (std::ranges::find(formats, kv_format) == formats.end())
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer, "etcd's databases write kv snapshots only");
  const std::scoped_lock lock(mutex_);
  kept_.drop_unread_if([](const auto& writing) { return writing->failed(); });
  auto* const found = kept_.find([&](const std::shared_ptr<Writing>& writing) {
    const auto& facts = writing->facts();
    if (facts.incarnation != source.facts.incarnation || writing->failed()) return false;
    const bool current = !wanted && facts.snapshot_lsn == source.facts.snapshot_lsn;
    return (wanted && facts.id == *wanted) || current;
  });
  if (found != nullptr) return read(*found);
  if (auto free = kept_.check_read(options_.snapshots_max); !free) return free.error();
  kept_.make_room(options_.snapshots_max);
  auto described = source;
  described.facts.id = base::random_id<SnapshotId>();
  described.facts.format = std::string(kv_format);
  const auto path = folder_ / to_string(described.facts.id);
  auto fresh = std::make_shared<Writing>(described, files_, path, options_, disk_bytes_);
  if (auto started = fresh->start(); !started) return started.error();
  return read(kept_.add(std::move(fresh)));
}

void SnapshotStore::clear() {
  const std::scoped_lock lock(mutex_);
  kept_.clear();
}

void SnapshotStore::prune(const Incarnation& incarnation) {
  const std::scoped_lock lock(mutex_);
  kept_.prune(options_.kept, [&](const auto& writing) { return writing->facts().incarnation == incarnation; });
}

}  // namespace crosslink::etcd
