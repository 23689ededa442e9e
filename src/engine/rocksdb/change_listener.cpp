#include "engine/rocksdb/change_listener.hpp"

#include <rocksdb/db.h>

#include <charconv>
#include <utility>

namespace crosslink::rocks {
namespace {

/// Of a database that no caller listens for, of which none is forgotten. Beyond it data counts as having come in.
constexpr std::size_t tables_max = 256 * 1024;

}  // namespace

std::uint64_t number_of_table(const std::string& path) {
  const auto slash = path.rfind('/');
  const auto* begin = path.data() + (slash == std::string::npos ? 0 : slash + 1);
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(begin, path.data() + path.size(), number);
  return parsed.ec == std::errc() ? number : 0;
}

void ChangeListener::OfDatabase::tell() {
  if (on_change) {
    on_change();
  } else {
    changed = true;
  }
}

void ChangeListener::OfDatabase::keep_within_bounds() {
  if (compacted.size() + made.size() <= tables_max) return;
  compacted.clear();
  made.clear();
  tell();
}

Result<bool> ChangeListener::listen(const std::string& database, std::function<void()> on_change) {
  const std::scoped_lock lock(mutex_);
  auto& of = databases_[database];
  if (of.on_change)
    return MirrorError::configuration("this RocksDB is offered to mirrors already: one source for each");
  of.on_change = std::move(on_change);
  return std::exchange(of.changed, false);
}

void ChangeListener::ignore(const std::string& database) {
  const std::scoped_lock lock(mutex_);
  databases_[database].on_change = {};
}

bool ChangeListener::was_compacted(const std::string& database, std::uint64_t table) const {
  const std::scoped_lock lock(mutex_);
  const auto found = databases_.find(database);
  return found != databases_.end() && found->second.compacted.contains(table);
}

bool ChangeListener::has_compacted(const std::string& database) const {
  const std::scoped_lock lock(mutex_);
  const auto found = databases_.find(database);
  return found != databases_.end() && found->second.has_compacted;
}

std::set<std::uint64_t> ChangeListener::take_made(const std::string& database) {
  const std::scoped_lock lock(mutex_);
  return std::exchange(databases_[database].made, {});
}

void ChangeListener::forget(const std::string& database, const std::set<std::uint64_t>& tables) {
  const std::scoped_lock lock(mutex_);
  auto& compacted = databases_[database].compacted;
  for (const auto table : tables)
    compacted.erase(table);
}

void ChangeListener::OnExternalFileIngested(rocksdb::DB* database, const rocksdb::ExternalFileIngestionInfo&) {
  const std::scoped_lock lock(mutex_);
  databases_[database->GetName()].tell();
}

// After a failed write RocksDB may bring a record to the log that was not committed. It does not say which database
// failed: all that share these options may have.
void ChangeListener::OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status*) {
  const std::scoped_lock lock(mutex_);
  for (auto& [name, of] : databases_)
    of.tell();
}

void ChangeListener::OnCompactionBegin(rocksdb::DB* database, const rocksdb::CompactionJobInfo& job) {
  const std::scoped_lock lock(mutex_);
  auto& of = databases_[database->GetName()];
  for (const auto& input : job.input_files)

    of.compacted.insert(number_of_table(input));
  of.has_compacted = true;
  of.keep_within_bounds();
}

// Those that stay were not compacted: of a compaction that failed, or that only moved them to another level.
void ChangeListener::OnCompactionCompleted(rocksdb::DB* database, const rocksdb::CompactionJobInfo& job) {
  const std::scoped_lock lock(mutex_);
  auto& of = databases_[database->GetName()];
  for (const auto& stays : job.status.ok() ? job.output_files : job.input_files)
    of.compacted.erase(number_of_table(stays));
  if (!job.status.ok()) return;
  for (const auto& output : job.cf_id == 0 ? job.output_files : std::vector<std::string>())
    of.made.insert(number_of_table(output));
  of.keep_within_bounds();
}

void ChangeListener::OnFlushCompleted(rocksdb::DB* database, const rocksdb::FlushJobInfo& job) {
  if (job.cf_id != 0) return;
  const std::scoped_lock lock(mutex_);
  auto& of = databases_[database->GetName()];
  of.made.insert(job.file_number);
  of.keep_within_bounds();
}

}  // namespace crosslink::rocks
