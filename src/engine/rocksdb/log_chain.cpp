#include "engine/rocksdb/log_chain.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "crosslink/entry.hpp"

namespace crosslink::rocks {
namespace {

constexpr std::size_t links_max = 512;
constexpr std::size_t link_bytes = 32;
// The file keeps those that were thinned out since it was written whole.
constexpr std::size_t file_bytes_wanted = 8 * links_max * link_bytes, file_bytes_max = 64 * links_max * link_bytes;
constexpr std::uint64_t compared_bytes = 32ull * 1024 * 1024;
constexpr std::uint64_t end_entries = 64;

void put_link(std::byte* to, Lsn after, Lsn last, const EntryHash& hash) {
  // In the machine's own byte order: it never leaves it.
  std::memcpy(to, &after.value, 8);
  std::memcpy(to + 8, &last.value, 8);
  std::memcpy(to + 16, hash.bytes.data(), 16);
}

EntryHash hash_of(std::span<const std::byte> entries) {
  PairDigest digest;
  digest.add({}, text_of(entries));
  return digest.digest();
}

/// From where on the log's files hold about `bytes` up to its head.
Lsn newest(const std::vector<WalFile>& files, std::uint64_t bytes) {
  std::uint64_t behind = 0;
  for (auto file = files.rbegin(); file != files.rend(); ++file) {
    behind += file->bytes;
    if (behind >= bytes) return Lsn{file->first.value - 1};
  }
  return {};
}

}  // namespace

Result<void> LogChain::load() {
  links_.clear();
  const auto bytes = disk_.read(file_, file_bytes_max);
  if (!bytes) return bytes.error();
  if (!*bytes) return {};
  for (std::size_t at = 0; at + link_bytes <= (*bytes)->size(); at += link_bytes) {  // what a kill cut short is none
    Link link;
    std::memcpy(&link.after.value, (*bytes)->data() + at, 8);
    std::memcpy(&link.last.value, (*bytes)->data() + at + 8, 8);
    std::memcpy(link.hash.bytes.data(), (*bytes)->data() + at + 16, 16);
    if (link.last <= link.after || (!links_.empty() && link.after < links_.back().last)) break;
    links_.push_back(link);
    thin_out();
  }
  return {};
}

/// Of the older half every second one goes: the further back, the fewer.
void LogChain::thin_out() {
  if (links_.size() <= links_max) return;
  std::size_t at = 0;
  std::erase_if(links_, [&at](const Link&) {
    const bool older = at < links_max / 2;
    const bool drops = older && at % 2 == 0;
    at += older ? 1 : 0;
    return drops;
  });
}

Result<std::optional<Lsn>> LogChain::compare(LogReader& log, std::size_t first, Lsn oldest, Lsn head,
                                             bool& some_same) const {
  while (first < links_.size() && links_[first].after < oldest)
    ++first;
  if (first == links_.size() || links_[first].last > head) return std::optional<Lsn>{};
  auto link = links_.begin() + static_cast<std::ptrdiff_t>(first);
  std::vector<std::byte> entries;
  std::optional<Lsn> diverged_after;
  Lsn same = link->after;  // no link says that it is another one up to here
  auto reached = link->after;
  const auto end = std::min(head, links_.back().last);
  const auto read = log.read(reached, end, [&](const LogRecord& record) {
    // Of a record that stands across a link's end there is no telling; it was none in the log that was given away.
    if (reached >= link->after && record.last <= link->last) {
      entries.insert(entries.end(), record.entry.begin(), record.entry.end());
    } else if (record.last > link->last) {
      diverged_after = same;
      return false;
    }
    reached = record.last;
    if (reached < link->last) return true;
    if (hash_of(entries) != link->hash) {
      diverged_after = same;
      return false;
    }
    some_same = true;
    same = link->last;
    entries.clear();
    return ++link != links_.end() && link->last <= head;
  });
  // What cannot be mirrored ends every session that comes to it; up to there it was compared.
  if (!read && read.error().kind() != ErrorKind::UnsupportedOperation) return read.error();
  return diverged_after;
}

Result<LogChain::Check> LogChain::take_up(LogReader& log, const std::vector<WalFile>& files, Lsn oldest, Lsn head) {
  const std::scoped_lock lock(mutex_);
  if (auto loaded = load(); !loaded) return loaded.error();
  Check check;
  check.is_shorter = !links_.empty() && links_.back().last > head;
  const auto from = newest(files, compared_bytes);
  const auto first = std::ranges::partition_point(links_, [&](const Link& link) { return link.after < from; });
  const auto index = static_cast<std::size_t>(first - links_.begin());
  bool some_same = false;
  auto diverged = compare(log, index, oldest, head, some_same);
  if (diverged && *diverged && !some_same && index > 0) diverged = compare(log, 0, oldest, head, some_same);
  if (!diverged) return diverged.error();
  check.diverged_after = *diverged;
  if (check.diverged_after && !some_same) check.diverged_after = oldest;  // nothing says where it diverged
  const auto end = std::min(head, check.diverged_after.value_or(head));
  std::erase_if(links_, [end](const Link& link) { return link.last > end; });
  is_whole_ = is_synced_ = false;
  return check;
}

void LogChain::add(const Link& link) {
  links_.push_back(link);
  thin_out();
  is_synced_ = false;
  is_whole_ = is_whole_ && open_ && open_->end() < file_bytes_max - link_bytes;
  if (!is_whole_) return;
  std::array<std::byte, link_bytes> record;
  put_link(record.data(), link.after, link.last, link.hash);
  is_whole_ = open_->append(record).ok();
}

void LogChain::note(Lsn after, Lsn last, std::span<const std::byte> entries) {
  if (last <= after || entries.empty()) return;
  const std::scoped_lock lock(mutex_);
  // Another mirror was given it; or a part of it, and the next stretch will fit.
  if (!links_.empty() && after < links_.back().last) return;
  add({after, last, hash_of(entries)});
}

Result<void> LogChain::note_end(LogReader& log, Lsn oldest, Lsn last) {
  Lsn after{last.value - std::min(last.value, end_entries)};
  {
    const std::scoped_lock lock(mutex_);
    after = std::max({after, oldest, links_.empty() ? Lsn{} : links_.back().last});
  }
  if (last <= after) return {};
  std::optional<Lsn> begin;
  Lsn end;
  std::vector<std::byte> entries;
  const auto read = log.read(after, last, [&](const LogRecord& record) {
    if (!begin) {
      // It may begin before `after`: then the stretch begins behind it.
      begin = record.first.value == after.value + 1 ? after : record.last;
      if (*begin == record.last) return true;
    }
    end = record.last;
    entries.insert(entries.end(), record.entry.begin(), record.entry.end());
    return true;
  });
  if (!read) return read.error().kind() == ErrorKind::UnsupportedOperation ? Result<void>{} : read.error();
  if (*read && begin && end == last) note(*begin, last, entries);
  return {};
}

Lsn LogChain::last() const {
  const std::scoped_lock lock(mutex_);
  return links_.empty() ? Lsn{} : links_.back().last;
}

Result<void> LogChain::save() {
  const std::scoped_lock lock(mutex_);
  if (is_whole_ && is_synced_) return {};
  if (is_whole_ && open_->end() < file_bytes_wanted) {
    auto synced = open_->sync();
    is_whole_ = is_synced_ = synced.ok();
    return synced;
  }
  is_whole_ = false;
  open_.reset();
  std::vector<std::byte> all(links_.size() * link_bytes);
  for (std::size_t i = 0; i < links_.size(); ++i)
    put_link(all.data() + i * link_bytes, links_[i].after, links_[i].last, links_[i].hash);
  if (auto replaced = disk_.replace(file_, all); !replaced) return replaced;
  auto opened = disk_.open_at(file_, all.size());
  if (!opened) return opened.error();
  open_.emplace(*std::move(opened));
  is_whole_ = is_synced_ = true;
  return {};
}

}  // namespace crosslink::rocks
