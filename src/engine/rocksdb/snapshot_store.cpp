#include "engine/rocksdb/snapshot_store.hpp"

#include <fmt/format.h>
#include <rocksdb/utilities/checkpoint.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <utility>

#include "base/random_id.hpp"
#include "engine/rocksdb/env_disk.hpp"
#include "engine/rocksdb/snapshot_view.hpp"

namespace crosslink::rocks {
namespace {

constexpr const char* manifest_name = "crosslink-manifest";
/// Snapshots, read or not, for each that may be read.
constexpr std::size_t kept_factor = 2;
constexpr std::size_t manifest_bytes_max = 64 * 1024;
constexpr std::size_t key_bytes_shown = 100;

bool all_digits(std::string_view text) {
  return text.size() >= 6 && text.size() <= 20 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// What a checkpoint holds and no reader of it needs.
bool is_left_out(std::string_view name) {
  constexpr std::string_view options = "OPTIONS-";
  if (name.starts_with(options)) return all_digits(name.substr(options.size()));
  return name == manifest_name || name == "IDENTITY";
}

/// A stream of a head and files, read where it is asked for.
class CheckpointReader final : public SnapshotReader {
 public:
  explicit CheckpointReader(const Files& disk) : disk_(disk) {}
  static Result<std::shared_ptr<SnapshotReader>> open(SnapshotFacts facts, const Files& disk, const Path& folder) {
    auto reader = std::make_shared<CheckpointReader>(disk);
    auto listed = list_files(disk, folder);
    if (!listed) return listed.error();
    reader->head_ = encode_checkpoint_head(*listed);
    reader->files_ = *std::move(listed);
    reader->folder_ = folder;
    auto end = std::uint64_t{reader->head_.size()};
    for (const auto& file : reader->files_.files)
      reader->ends_.push_back(end += file.bytes);
    facts.total_bytes = end;
    reader->facts_ = std::move(facts);
    return std::shared_ptr<SnapshotReader>(std::move(reader));
  }
  const SnapshotFacts& facts() const override { return facts_; }
  Result<Piece> read(std::uint64_t offset, std::size_t bytes_max) override {
    const auto total = *facts_.total_bytes;
    if (offset > total) return MirrorError::configuration("a snapshot was read past its end");
    auto bytes = std::make_shared<std::vector<std::byte>>(
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes_max, total - offset)));
    const std::scoped_lock lock(mutex_);
    for (std::size_t done = 0; done < bytes->size();) {
      auto got = fill(offset + done, std::span(*bytes).subspan(done));
      if (!got) return got.error();
      done += *got;
    }
    const bool done = offset + bytes->size() == total;
    return Piece{std::move(bytes), done};
  }

 private:
  static Result<CheckpointFiles> list_files(const Files& disk, const Path& folder) {
    CheckpointFiles listed;
    auto names = disk.list(folder);
    if (!names) return names.error();
    std::ranges::sort(*names);
    for (auto& name : *names) {
      if (is_left_out(name)) continue;
      // A part of the data that would be missed in silence, for all we know.
      if (!CheckpointFiles::is_allowed(name))
        return MirrorError(ErrorKind::Storage, CausedBy::us,
                           fmt::format("{} holds a file of no known kind: {}", folder.string(), escape(name)));
      const auto bytes = disk.size(folder / name);
      if (!bytes) return bytes.error();
      listed.files.push_back({std::move(name), *bytes});
    }
    return listed;
  }
  Result<std::size_t> fill(std::uint64_t offset, std::span<std::byte> out) {
    if (offset < head_.size()) {
      const auto part = std::span(head_).subspan(static_cast<std::size_t>(offset));
      const auto size = std::min(part.size(), out.size());
      std::ranges::copy(part.first(size), out.begin());
      return size;
    }
    const auto index = static_cast<std::size_t>(std::ranges::upper_bound(ends_, offset) - ends_.begin());
    if (!file_ || opened_ != index) {
      auto file = disk_.open_to_read(folder_ / files_.files[index].name);
      if (!file) return file.error();
      file_ = *std::move(file);
      opened_ = index;
    }
    const auto size = std::min<std::uint64_t>(out.size(), ends_[index] - offset);
    const auto at = files_.files[index].bytes - (ends_[index] - offset);
    auto got = file_.read(out.first(static_cast<std::size_t>(size)), at);
    if (got && *got < size)
      return MirrorError(ErrorKind::Storage, CausedBy::us, "a checkpoint's file is shorter than it was");
    return got;
  }
  Files disk_;
  SnapshotFacts facts_;
  CheckpointFiles files_;
  Path folder_;
  std::vector<std::byte> head_;
  std::vector<std::uint64_t> ends_;  ///< in the stream
  std::mutex mutex_;
  ReadFile file_;
  std::size_t opened_ = 0;
};

/// Sorted pairs out of a checkpoint. Read on from where it was; anywhere else it begins anew and skips.
class KvReader final : public SnapshotReader {
 public:
  KvReader(SnapshotFacts facts, std::shared_ptr<Live> checkpoint)
      : facts_(std::move(facts)), checkpoint_(std::move(checkpoint)) {}
  const SnapshotFacts& facts() const override { return facts_; }
  Result<Piece> read(std::uint64_t offset, std::size_t bytes_max) override {
    const std::scoped_lock lock(mutex_);
    if (!iterator_ || offset < at_) begin();
    while (offset > at_) {
      if (auto more = refill(); !more) return more.error();
      if (buffered().empty()) return MirrorError::configuration("a snapshot was read past its end");
      advance(static_cast<std::size_t>(std::min<std::uint64_t>(offset - at_, buffered().size())));
    }
    auto bytes = std::make_shared<std::vector<std::byte>>();
    while (bytes->size() < bytes_max) {
      if (auto more = refill(); !more) return more.error();
      if (buffered().empty()) break;
      const auto part = buffered().first(std::min(buffered().size(), bytes_max - bytes->size()));
      bytes->insert(bytes->end(), part.begin(), part.end());
      advance(part.size());
    }
    if (auto more = refill(); !more) return more.error();
    const bool done = buffered().empty();
    return Piece{std::move(bytes), done};
  }

 private:
  void begin() {
    rocksdb::ReadOptions options;
    options.total_order_seek = true;
    options.fill_cache = false;
    options.readahead_size = 2 * 1024 * 1024;
    iterator_.reset(checkpoint_->db().NewIterator(options, checkpoint_->data()));
    iterator_->SeekToFirst();
    buffer_.clear();
    used_ = 0;
    at_ = 0;
  }
  std::span<const std::byte> buffered() const { return std::span(buffer_).subspan(used_); }
  void advance(std::size_t bytes) {
    used_ += bytes;
    at_ += bytes;
  }
  Result<void> refill() {
    if (used_ < buffer_.size()) return {};
    buffer_.clear();
    used_ = 0;
    if (!iterator_->Valid()) {
      if (!iterator_->status().ok()) return storage_error("reading a checkpoint", iterator_->status());
      return {};
    }
    const auto key = iterator_->key(), value = iterator_->value();
    if (has_wide_columns(*iterator_)) {
      return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::us,
                         fmt::format("the pair of key {} has wide columns, which no snapshot of pairs can hold",
                                     escape(std::string_view(key.data(), std::min(key.size(), key_bytes_shown)))));
    }
    encode_pair(buffer_, {{key.data(), key.size()}, {value.data(), value.size()}, std::nullopt});
    iterator_->Next();
    return {};
  }
  SnapshotFacts facts_;
  std::shared_ptr<Live> checkpoint_;
  std::mutex mutex_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
  std::vector<std::byte> buffer_;  ///< the pair that comes next, or what is left of it
  std::size_t used_ = 0;
  std::uint64_t at_ = 0;  ///< the stream's offset of what is buffered
};

}  // namespace

std::string checkpoint_format(std::string_view compression) {
  return fmt::format("rocksdb-checkpoint/{}/bytewise/{}", ROCKSDB_MAJOR, compression);
}
std::string checkpoint_format(RocksdbCompression compression) {
  constexpr std::array<std::string_view, 3> names{"none", "lz4", "zstd"};
  return checkpoint_format(names[static_cast<std::size_t>(compression)]);
}

bool CheckpointFiles::is_allowed(std::string_view name) {
  if (name == "CURRENT") return true;
  constexpr std::string_view manifest = "MANIFEST-";
  if (name.starts_with(manifest)) return all_digits(name.substr(manifest.size()));
  return (name.ends_with(".sst") || name.ends_with(".log")) && all_digits(name.substr(0, name.size() - 4));
}

std::vector<std::byte> encode_checkpoint_head(const CheckpointFiles& files) {
  // Plain lines: one file each, "NAME BYTES".
  std::string text;
  for (const auto& file : files.files)
    text += fmt::format("{} {}\n", file.name, file.bytes);
  std::vector<std::byte> head;
  for (int shift = 24; shift >= 0; shift -= 8)
    head.push_back(static_cast<std::byte>(text.size() >> shift & 0xff));
  const auto bytes = bytes_of(text);
  head.insert(head.end(), bytes.begin(), bytes.end());
  return head;
}

Result<CheckpointFiles> decode_checkpoint_head(std::span<const std::byte> bytes) {
  const auto refuse = [](std::string why) {
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer, "a checkpoint's list of files " + why);
  };
  CheckpointFiles listed;
  std::set<std::string, std::less<>> names;
  std::uint64_t total = 0;
  auto text = text_of(bytes);
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto space = text.find(' ');
    if (end == std::string_view::npos || space == std::string_view::npos || space > end) return refuse("is cut short");
    const auto name = text.substr(0, space);
    const auto digits = text.substr(space + 1, end - space - 1);
    if (!CheckpointFiles::is_allowed(name)) {
      return refuse(fmt::format("names {}, which is no file of a checkpoint", escape(name)));
    }
    if (!names.emplace(name).second) return refuse("names a file twice");
    std::uint64_t size = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), size);
    if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() || size > (1ull << 50)) {
      return refuse("has a length that is no number");
    }
    total += size;
    if (total > checkpoint_bytes_max) return refuse("has more bytes than any disk");
    if (listed.files.size() >= checkpoint_files_max) return refuse("is too long");
    listed.files.push_back({std::string(name), size});
    text.remove_prefix(end + 1);
  }
  return listed;
}

SnapshotStore::SnapshotStore(Path folder, Options options)
    : folder_(std::move(folder)),
      options_(std::move(options)),
      disk_(files_of(options_.to_open.env)),
      kept_([this](const Made& made) { static_cast<void>(disk_.remove_tree(made.folder)); }) {}

Result<void> SnapshotStore::adopt(const History& history, Lsn head) {
  if (auto made = disk_.make_folder(folder_); !made) return made;
  const std::scoped_lock lock(mutex_);
  const auto names = disk_.list(folder_);
  if (!names) return names.error();
  for (const auto& name : *names) {
    const auto folder = folder_ / name;
    const auto bytes = disk_.read(folder / manifest_name, manifest_bytes_max);
    const auto facts = bytes && *bytes ? decode_facts(**bytes) : Result<SnapshotFacts>(MirrorError::configuration(""));
    const auto end = facts ? history.end_of(facts->incarnation, head) : std::nullopt;
    if (!end || facts->snapshot_lsn > *end) {
      static_cast<void>(disk_.remove_tree(folder));
      continue;
    }
    kept_.add({*facts, folder});
  }
  return {};
}

Result<std::shared_ptr<SnapshotReader>> SnapshotStore::read(Kept::Kept& kept) {
  return kept_.read(kept, [this](const Made& made) { return open_made(made); });
}

Result<std::shared_ptr<SnapshotReader>> SnapshotStore::open_made(const Made& made) const {
  if (made.facts.format != kv_format) return CheckpointReader::open(made.facts, disk_, made.folder);
  auto checkpoint = Live::open_read_only(made.folder, options_.to_open, options_.kind);
  if (!checkpoint) return checkpoint.error();
  return std::shared_ptr<SnapshotReader>(std::make_shared<KvReader>(made.facts, *std::move(checkpoint)));
}

Result<SnapshotStore::Made> SnapshotStore::make(const Source& source, const std::string& format) {
  const auto id = base::random_id<SnapshotId>();
  const auto folder = folder_ / to_string(id);
  if (auto room = source.live.check_room_to_flush(); !room) return room.error();
  rocksdb::Checkpoint* made = nullptr;
  auto status = rocksdb::Checkpoint::Create(&source.live.db(), &made);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  if (status.ok()) status = checkpoint->CreateCheckpoint(folder.string());
  if (!status.ok()) {
    static_cast<void>(disk_.remove_tree(folder));
    return storage_error("making a checkpoint", status);
  }
  const auto fail = [&](MirrorError error) {
    static_cast<void>(disk_.remove_tree(folder));
    return error;
  };
  SnapshotFacts facts;
  {
    // Where it stands is what it says itself when it is opened, not what the database said before.
    const auto opened = Live::open_read_only(folder, options_.to_open, options_.kind);
    if (!opened) return fail(opened.error());
    auto described = source.describe(**opened);
    if (!described) return fail(described.error());
    facts = *std::move(described);
  }
  facts.id = id;
  facts.format = format;
  facts.consistent_lsn = facts.snapshot_lsn;
  if (auto written = disk_.replace(folder / manifest_name, encode_facts(facts)); !written) return fail(written.error());
  return Made{std::move(facts), folder};
}

Result<std::shared_ptr<SnapshotReader>> SnapshotStore::open(const Source& source, std::span<const std::string> formats,
                                                            const std::optional<SnapshotId>& wanted) {
  const auto& own = source.own_format;
  const auto understood = [&](const std::string& format) { return format == kv_format || format == own; };
  const auto format = std::ranges::find_if(formats, understood);
  if (format == formats.end()) {
    return MirrorError(
        ErrorKind::UnsupportedOperation, CausedBy::peer,
        fmt::format("this database writes snapshots as {}{}{} only", own, own.empty() ? "" : " and ", kv_format));
  }
  const std::scoped_lock lock(mutex_);
  auto* const found = kept_.find([&](const Made& made) {
    const auto& facts = made.facts;
    if (!source.history.contains(facts.incarnation) || facts.snapshot_lsn < source.oldest) return false;
    const bool asked_for = wanted && facts.id == *wanted && std::ranges::find(formats, facts.format) != formats.end();
    const bool current = !wanted && facts.snapshot_lsn == source.head && facts.format == *format &&
                         facts.incarnation == source.history.newest().incarnation;
    return asked_for || current;
  });
  if (found != nullptr) return read(*found);
  if (auto free = kept_.check_read(options_.snapshots_max); !free) return free.error();
  // A mirror that stopped reading goes on later if its snapshot is still here: the budget, in prune(), judges those.
  kept_.make_room(kept_factor * options_.snapshots_max);
  auto made = make(source, *format);
  if (!made) return made.error();
  return read(kept_.add(*std::move(made)));
}

std::uint64_t SnapshotStore::held_alone(const Made& made) const {
  std::uint64_t bytes = 0;
  const auto names = disk_.list(made.folder);
  if (!names) return 0;  // it cannot be read either: the reader is told
  for (const auto& name : *names) {
    const auto links = disk_.names(made.folder / name);
    if (!links || *links != 1) continue;
    const auto size = disk_.size(made.folder / name);
    if (size) bytes += *size;
  }
  return bytes;
}

void SnapshotStore::prune(const History& history, Lsn oldest) {
  const std::scoped_lock lock(mutex_);
  kept_.prune(options_.kept, [&](const Made& made) {
    return history.contains(made.facts.incarnation) && made.facts.snapshot_lsn >= oldest;
  });
  const auto over_budget = [this] {
    if (!kept_.has_unread()) return false;
    std::uint64_t bytes = 0;
    kept_.for_each([&](const Made& made) { bytes += held_alone(made); });
    return bytes > options_.budget_bytes;
  };
  while (over_budget() && kept_.drop_longest_unread()) {
  }
}

void SnapshotStore::clear() {
  const std::scoped_lock lock(mutex_);
  kept_.clear();
}

}  // namespace crosslink::rocks
