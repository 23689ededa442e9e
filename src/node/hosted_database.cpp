#include "node/hosted_database.hpp"

#include <algorithm>
#include <utility>

namespace crosslink::node {
namespace {

RocksdbOptions engine_options(const DatabaseConfig& config, const std::filesystem::path& folder) {
  RocksdbOptions options;
  options.folder = folder;
  options.sync = config.sync;
  options.compression = config.compression;
  options.cache_bytes = config.cache_bytes;
  options.log_window = config.log_window;
  return options;
}

DatabaseSourceOptions source_options(const DatabaseConfig& config, const std::string& cluster_id) {
  DatabaseSourceOptions options;
  options.name = cluster_id + "/" + config.name;
  return options;
}

}  // namespace

std::uint64_t ScanCursors::add(std::string key) {
  const std::scoped_lock lock(mutex_);
  by_age_.emplace_back(++last_, std::move(key));
  by_number_.emplace(last_, std::prev(by_age_.end()));
  if (by_age_.size() > cursors_max) {
    by_number_.erase(by_age_.front().first);
    by_age_.pop_front();
  }
  return last_;
}

std::optional<std::string> ScanCursors::find(std::uint64_t cursor) {
  const std::scoped_lock lock(mutex_);
  const auto found = by_number_.find(cursor);
  if (found == by_number_.end()) return std::nullopt;
  by_age_.splice(by_age_.end(), by_age_, found->second);
  return found->second->second;
}

Result<std::unique_ptr<HostedDatabase>> HostedDatabase::open(const DatabaseConfig& config,
                                                             const std::string& cluster_id,
                                                             const std::filesystem::path& folder,
                                                             boost::asio::any_io_executor engine_executor) {
  auto engine = RocksdbDatabase::open_root(engine_options(config, folder));
  if (!engine) return engine.error();
  return std::make_unique<HostedDatabase>(config, cluster_id, *std::move(engine), std::move(engine_executor));
}

HostedDatabase::HostedDatabase(const DatabaseConfig& config, const std::string& cluster_id,
                               std::unique_ptr<RocksdbDatabase> engine, boost::asio::any_io_executor engine_executor)
    : config_(config),
      engine_(std::move(engine)),
      source_(*engine_, engine_.get(), std::move(engine_executor), source_options(config, cluster_id)),
      commits_(*engine_, watches_) {}

bool HostedDatabase::allows(std::span<const std::string> names) const {
  if (!config_.allow_mirrors) return true;
  return std::ranges::any_of(names, [this](const std::string& name) {
    return std::ranges::any_of(*config_.allow_mirrors,
                               [&name](const std::string& allowed) { return equal_ignoring_case(name, allowed); });
  });
}

Result<std::uint64_t> HostedDatabase::count_keys() {
  if (const auto known = known_count()) return *known;
  const auto view = engine_->view();
  if (!view) return view.error();
  Count count{(*view)->lsn(), 0};
  const auto counted = (*view)->scan("", std::nullopt, [&count](const KeyValue&) {
    ++count.keys;
    return true;
  });
  if (!counted) return counted.error();
  const std::scoped_lock lock(count_mutex_);
  count_ = count;
  return count.keys;
}

std::optional<std::uint64_t> HostedDatabase::known_count() const {
  const auto head = engine_->source_state().head;
  const std::scoped_lock lock(count_mutex_);
  if (!count_ || count_->lsn != head) return std::nullopt;
  return count_->keys;
}

}  // namespace crosslink::node
