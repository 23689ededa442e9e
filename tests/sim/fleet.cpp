#include "sim/fleet.hpp"

#include <algorithm>

namespace crosslink::sim {
namespace {

constexpr Time second{1'000'000};
constexpr std::uint64_t mebibyte = 1024 * 1024;

MemoryOptions options_of(World& world, std::uint64_t window_bytes) {
  MemoryOptions options;
  options.log_window_bytes = window_bytes;
  options.log_budget_bytes = 4 * window_bytes;
  options.entry_bytes_max = 8ull * 1024 * 1024;
  options.manual_sync = true;
  options.seed = world.random()();
  return options;
}

}  // namespace

Fleet::Fleet(World& world, Oracle& oracle) : world_(&world), oracle_(&oracle) {
  synced = world.chance(0.3);
  two_copies = synced && world.chance(0.4);
  small_frames = world.chance(0.3);
  const auto window = world.chance(0.5) ? 2'000 + world.below(60'000) : 16 * mebibyte;
  const auto make = [&](const char* name, bool is_root) {
    const auto options = options_of(world, window);
    return std::make_unique<Database>(world, oracle, name, options,
                                      is_root ? MemoryDatabase::create(options) : MemoryDatabase::empty(options));
  };
  root_db = make("root/db", true);
  near_db = make("near/db", false);
  middle_db = make("middle/db", false);
  far_db = make("far/db", false);
  root_db->note_standing();
  build_sources();
  build_mirrors();
}

void Fleet::build_sources() {
  SourceHostConfig root_config;
  root_config.chain = {"root/db"};
  root_config.mirrors = 2;
  if (world_->chance(0.3)) root_config.in_flight_bytes_max = 2 * mebibyte + world_->below(4 * mebibyte);
  SourceHostConfig middle_config;
  middle_config.chain = {"middle/db", "root/db"};
  middle_config.mirrors = 1;
  if (synced) {
    for (auto* config : {&root_config, &middle_config}) {
      config->sync.timeout = world_->between(Time(100'000), 2 * second);
      config->sync.on_loss = world_->chance(0.5) ? OnSyncLoss::error : OnSyncLoss::async;
    }
    root_config.sync.mirrors = {"near/db"};
    middle_config.sync.mirrors = {"far/db"};  // once it takes writes
  }
  if (small_frames) root_config.bulk_bytes_max = middle_config.bulk_bytes_max = 30 + world_->below(400);
  root_config.of_a_later_version = middle_config.of_a_later_version = world_->chance(0.15);
  root_config.clock_offset = world_->between(Time(0), 3600 * second);
  middle_config.clock_offset = world_->between(Time(0), 3600 * second);
  root = std::make_unique<SourceHost>(*world_, *oracle_, *root_db, root_config);
  middle_source = std::make_unique<SourceHost>(*world_, *oracle_, *middle_db, middle_config);
  for (auto* source : {root.get(), middle_source.get()})
    source->durable_at = [this](const MirrorIdentity& identity) { return copy_of(identity).durable_node(); };
}

void Fleet::build_mirrors() {
  const auto config_of = [this](const std::string& name) {
    MirrorHostConfig config;
    config.name = config.peer = config.identity.database = name;
    for (auto& byte : config.identity.id.bytes)
      byte = static_cast<std::byte>(world_->below(256));
    config.weather = any_weather();
    config.clock_offset = world_->between(Time(0), 3600 * second);
    config.engine_delay_max = world_->chance(0.2) ? Time(100'000) : Time(3'000);
    config.engine_stalls = world_->chance(0.3) ? 0.02 : 0.0;
    config.in_flight_bytes_max = 2 * mebibyte + world_->below(4 * mebibyte);
    return config;
  };
  auto near_config = config_of("near/db");
  near_config.sync = synced && world_->chance(0.5);  // its source names it, whether it asks or not
  near_config.resync_when_source_behind = !synced && world_->chance(0.2);
  near_config.root_node = [this] { return root_db->node(); };
  near = std::make_unique<MirrorHost>(*world_, *oracle_, *near_db, *root, nullptr, near_config);
  auto middle_config_mirror = config_of("middle/db");
  middle_config_mirror.root_node = [this] { return root_db->node(); };
  if (two_copies) {
    middle_config_mirror.peer = "near/db";
    if (world_->chance(0.5))
      middle_config_mirror.identity.database = "near/db";  // as one that was copied with its config
  }
  middle =
      std::make_unique<MirrorHost>(*world_, *oracle_, *middle_db, *root, middle_source.get(), middle_config_mirror);
  auto far_config = config_of("far/db");
  far_config.root_node = [this] {
    return middle_db->engine().source_state().role == DatabaseRole::mirror ? root_db->node() : middle_db->node();
  };
  far = std::make_unique<MirrorHost>(*world_, *oracle_, *far_db, *middle_source, nullptr, far_config);
  mirrors = {near.get(), middle.get(), far.get()};
}

Connection::Weather Fleet::any_weather() {
  Connection::Weather weather;
  weather.delay_min = world_->between(Time(20), Time(30'000));
  weather.delay_max = weather.delay_min + world_->between(Time(10), Time(30'000));
  weather.slow_piece = world_->chance(0.5) ? 0.04 : 0.0;
  return weather;
}

MirrorHost& Fleet::copy_of(const MirrorIdentity& identity) {
  const auto found = std::ranges::find_if(mirrors, [&](const auto* one) { return one->config().identity == identity; });
  if (found == mirrors.end()) throw Violation("a mirror counts that does not exist: " + identity.database);
  return **found;
}

const Node* Fleet::upstream_of(const MirrorHost& mirror) {
  return &mirror == far.get() ? middle_db->node() : root_db->node();
}

}  // namespace crosslink::sim
