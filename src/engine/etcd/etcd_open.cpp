// Opening and closing a database in etcd.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/etcd/etcd_impl.hpp"
#include "engine/etcd/identity.hpp"

namespace crosslink {

using namespace etcd;

namespace {

constexpr std::size_t name_bytes_max = 64;

bool is_name(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  };
  return !text.empty() && text.size() <= name_bytes_max && std::ranges::all_of(text, allowed);
}

}  // namespace

EtcdDatabase::Impl::Impl(EtcdOptions chosen)
    : options(std::move(chosen)),
      space(std::make_shared<const base::Space>(files, options.folder, options.min_free_bytes, options.free_bytes)),
      log_shortage(std::make_shared<Shortage>(options.on_warning)),
      snapshot_shortage(std::make_shared<Shortage>(options.on_warning)),
      store(files, options.folder / "log",
            {options.log_memory_bytes, options.log_window_bytes, options.log_budget_bytes}, space, log_shortage),
      snapshot_store(
          files, options.folder / "snapshots",
          {options.snapshots_max, options.snapshot_budget_bytes, options.snapshot_kept, space, snapshot_shortage}),
      partial(files, options.folder / "partial", space),
      notes(files, options.folder) {}

EtcdDatabase::Impl::~Impl() {
  {
    const std::scoped_lock holding(mutex);
    stopping = true;
    if (scanning) scanning->cancel();
  }
  stop_signal.notify_all();
  for (auto* thread : {&keeper, &maintainer}) {
    if (thread->joinable()) thread->join();
  }
  if (loop_look.lease != 0) client->revoke_at_end(loop_look.lease);
  if (client && !root) release(AtEnd::yes);
}

EtcdDatabase::EtcdDatabase(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
EtcdDatabase::~EtcdDatabase() = default;

Result<std::unique_ptr<EtcdDatabase>> EtcdDatabase::open_root(EtcdOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  if (auto opened = impl->open(true); !opened) return opened.error();
  return std::unique_ptr<EtcdDatabase>(new EtcdDatabase(std::move(impl)));
}

Result<std::unique_ptr<EtcdDatabase>> EtcdDatabase::open_mirror(EtcdOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  if (auto opened = impl->open(false); !opened) return opened.error();
  return std::unique_ptr<EtcdDatabase>(new EtcdDatabase(std::move(impl)));
}

Result<void> EtcdDatabase::Impl::open(bool as_root) {
  root = as_root;
  if (options.folder.empty()) return MirrorError::configuration("a database in etcd needs a folder for what it keeps");
  if (!root && !is_name(options.name)) {
    return MirrorError::configuration(
        fmt::format("a mirror's name is 1 to {} letters, digits, '_', '-' and '.'", name_bytes_max));
  }
  if (!root && options.node.empty()) return MirrorError::configuration("a mirror in etcd needs the name of its node");
  if (options.prefix && options.prefix->starts_with(reserved_prefix))
    return MirrorError::configuration("the prefix /crosslink/ is crosslink's own in every etcd");
  if (auto made = files.make_folder(options.folder); !made) return made;
  auto taken = base::FileLock::take(options.folder / "LOCK",
                                    fmt::format("{} is in use by another process", options.folder.string()));
  if (!taken) return taken.error();
  lock = *std::move(taken);
  for (const auto* name : {"log", "snapshots"}) {
    if (auto removed = files.remove_tree(options.folder / name); !removed) return removed;
    if (auto made = files.make_folder(options.folder / name); !made) return made;
  }
  auto connected = Client::open(options.cluster, options.stop);
  if (!connected) return connected.error();
  client = *std::move(connected);
  lease_book = std::make_shared<LeaseBook>(client);
  counted.server_version = client->version_text();
  return root ? open_root() : open_mirror();
}

LogOrigin EtcdDatabase::Impl::log_origin(bool mirror) const {
  LogOrigin origin{client, keys, mirror ? record_key(options.name) : std::string(), lease_book};
  // A mirror's revisions are told apart by its record, which is not below its prefix.
  origin.revision_bytes_max = options.revision_bytes_max;
  if (!mirror && client->version().progress_is_ordered()) origin.scope = LogOrigin::Scope::asked_progress;
  return origin;
}

/// What was offered before is no longer true.
void EtcdDatabase::Impl::history_changed() {
  snapshot_store.clear();
  const std::scoped_lock telling(history_mutex);
  if (on_history) on_history();
}

Result<void> EtcdDatabase::Impl::start_tail() {
  auto started = std::make_shared<Tail>(log_origin(false), store);
  if (auto done = started->start(); !done) return done;
  std::function<void(Lsn)> told;
  {
    const std::scoped_lock holding(mutex);
    tail = started;
    told = on_head;
  }
  started->watch_head(std::move(told));
  started->watch_gone_back([this] { history_changed(); });
  return {};
}

Result<void> EtcdDatabase::Impl::open_root() {
  keys = {options.prefix.value_or(""), options.prefix.value_or(""), options.excludes};
  wire::RangeRequest any;
  const auto all = keys.all();
  any.set_key(all.key);
  any.set_range_end(all.range_end);
  any.set_limit(1);
  any.set_keys_only(true);
  const auto found = client->range(any);
  if (!found) return found.error();
  root_incarnation =
      etcd::root_incarnation(client->cluster_id(), options.crosslink_cluster, keys.prefix, options.excludes);
  if (found->kvs_size() == 0) open_note = fmt::format("no key begins with \"{}\" in this etcd", escape(keys.prefix));
  return start_tail();
}

void EtcdDatabase::Impl::use_keys(std::string prefix, std::string source_prefix) {
  const std::scoped_lock holding(mutex);
  keys = {std::move(prefix), std::move(source_prefix), {}};
  history = std::make_shared<PastLog>(log_origin(true));
}

Result<void> EtcdDatabase::Impl::open_mirror() {
  if (auto loaded = partial.load(); !loaded) return loaded;
  auto found = look();
  if (!found) return found.error();
  if (found->record) {
    record = *found->record;
    record_revision = found->record_revision;
    if (record.position && !record.bootstrapping) accounted_revision = record_revision;
  }
  id = id_in(record);
  if (record.position && options.prefix && *options.prefix != record.prefix) {
    return MirrorError::configuration(
        fmt::format("the mirror {} keeps its keys below \"{}\" in this etcd, not below \"{}\": delete it first",
                    options.name, escape(record.prefix, 200), escape(*options.prefix, 200)));
  }
  const auto& prefix = record.position ? std::optional(record.prefix) : options.prefix;
  if (prefix && record.role == DatabaseRole::mirror) {
    if (auto good = check_neighbours(*prefix); !good) return good;
  }
  use_keys(record.prefix, record.source_prefix);
  // What was received and is switched in already, when the process ended before it could say so.
  const auto& kept = partial.partial();
  const bool switched = kept && record.snapshot == kept->facts.id && !record.bootstrapping;
  if (switched || record.role == DatabaseRole::promoted) {
    if (auto dropped = partial.drop(); !dropped) return dropped;
  }
  shown_partial = partial.partial();
  if (record.role == DatabaseRole::promoted) return start_tail();
  keeper = std::thread([this] { every_round(&Impl::keep_ownership); });
  maintainer = std::thread([this] { every_round(&Impl::look_after_target); });
  return {};
}

Result<void> EtcdDatabase::own() {
  const std::scoped_lock writing(impl_->write_mutex);
  return impl_->ensure_owned(true);
}

Result<void> EtcdDatabase::wait_for(Lsn lsn, std::chrono::milliseconds patience) {
  std::shared_ptr<Tail> tail;
  {
    const std::scoped_lock holding(impl_->mutex);
    tail = impl_->tail;
  }
  if (tail) return tail->wait_for(lsn, patience);
  if (impl_->state().head >= lsn) return {};
  return storage_error("a mirror's head is what it wrote itself");
}

Result<void> EtcdDatabase::compact() {
  const auto head = impl_->state().head;
  if (auto compacted = impl_->client->compact(static_cast<std::int64_t>(head.value)); !compacted) return compacted;
  std::shared_ptr<Tail> tail;
  {
    const std::scoped_lock holding(impl_->mutex);
    tail = impl_->tail;
    impl_->found_compacted = std::max(impl_->found_compacted, head);
  }
  return tail ? tail->look_at_window(true) : Result<void>{};
}

EtcdDatabase::Counters EtcdDatabase::counters() const {
  const std::scoped_lock holding(impl_->mutex);
  return impl_->counted;
}

std::vector<EngineCount> EtcdDatabase::counts() const {
  if (impl_->root) return {};
  const auto now = counters();
  return {{"transactions", now.transactions},
          {"split_revisions", now.split_revisions},
          {"foreign_writes", now.external_writes},
          {"deleted_keys", now.deleted_keys},
          {"target_gone_back", now.target_gone_back}};
}

std::string EtcdDatabase::detail() const { return impl_->detail(); }

}  // namespace crosslink
