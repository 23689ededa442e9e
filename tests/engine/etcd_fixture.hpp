// A mirror in a real etcd server, fed by hand: the test writes its snapshot and its entries, and looks into the target
// as another client.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "crosslink/etcd_engine.hpp"
#include "crosslink/testing/engine_steps.hpp"
#include "engine/etcd/keys.hpp"
#include "engine/etcd/record.hpp"
#include "engine/etcd/txn.hpp"
#include "support/etcd_gate.hpp"
#include "support/etcd_server.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {

template <class Servers>
class EtcdMirrorIn : public testing::Test {
 protected:
  static constexpr const char* prefix = "/registry/";
  static constexpr const char* mirror_name = "copy";

  EtcdMirrorIn() {
    EtcdCluster direct;
    direct.endpoints = servers.endpoints();
    direct.call_deadline = patience;
    user = must(etcd::Client::open(direct));
  }

  EtcdOptions options(const std::string& folder_name = "database", const std::string& node = "node") const {
    EtcdOptions chosen;
    chosen.cluster.endpoints = {gate.endpoint()};
    chosen.cluster.call_deadline = patience;
    chosen.folder = folder.path() / folder_name;
    chosen.name = mirror_name;
    chosen.node = node;
    return chosen;
  }
  void open(const std::string& folder_name = "database", const std::string& node = "node") {
    mirror.reset();
    mirror = must(EtcdDatabase::open_mirror(options(folder_name, node)));
  }

  // --- what its source would send

  struct Leased {
    std::string value;
    std::uint64_t lease = 0;
  };
  using Snapshot = std::map<std::string, Leased>;
  static Snapshot snapshot_of(const Contents& contents) {
    Snapshot snapshot;
    for (const auto& [key, value] : contents)
      snapshot.emplace(key, Leased{value});
    return snapshot;
  }
  SnapshotFacts facts_at(Lsn at, std::uint8_t id = 1) const {
    SnapshotFacts facts;
    facts.id.bytes[0] = std::byte{id};
    facts.format = std::string(kv_format);
    facts.snapshot_lsn = facts.origin_lsn = facts.last_entry.lsn = facts.consistent_lsn = at;
    facts.origin.bytes[0] = facts.incarnation.bytes[0] = std::byte{7};
    facts.key_prefix = source_prefix;
    return facts;
  }
  /// Received and checked, but not switched in.
  void receive(const Snapshot& snapshot, Lsn at, std::uint8_t id = 1) const {
    std::vector<std::byte> stream;
    for (const auto& [key, pair] : snapshot) {
      const auto lease = pair.lease != 0 ? std::optional(pair.lease) : std::nullopt;
      encode_pair(stream, KeyValue{key, pair.value, lease});
    }
    must(mirror->begin_snapshot(facts_at(at, id)));
    constexpr std::size_t chunk_bytes = std::size_t{1024} * 1024;
    for (std::size_t offset = 0; offset < stream.size();) {
      const auto bytes = std::span(stream).subspan(offset).first(std::min(chunk_bytes, stream.size() - offset));
      must(mirror->store_chunk({offset, static_cast<std::uint32_t>(bytes.size()), crc32c(bytes)}, bytes));
      offset += bytes.size();
    }
    must(mirror->check_snapshot());
  }
  void bootstrap(const Snapshot& snapshot, Lsn at, std::uint8_t id = 1) const {
    receive(snapshot, at, id);
    must(mirror->switch_snapshot());
  }
  void bootstrap(const Contents& contents, Lsn at, std::uint8_t id = 1) const {
    bootstrap(snapshot_of(contents), at, id);
  }
  /// One group of an entry each, at the LSNs after the applied one, or from `first` on.
  Result<void> apply(const Commits& entries, std::optional<Lsn> first = std::nullopt) const {
    auto position = position_of(*mirror);
    if (first) position.applied_lsn = {first->value - 1};
    std::vector<std::byte> bytes;
    for (const auto& operations : entries) {
      const auto begin = bytes.size();
      position.applied_lsn = position.origin_lsn = {position.applied_lsn.value + 1};
      encode_entry(bytes, position.applied_lsn, 0, operations);
      auto encoded = std::span<const std::byte>(bytes).subspan(begin);
      position.last_entry = must(read_entry(encoded)).id();
    }
    return mirror->apply({{bytes}, position});
  }

  // --- what another client does at the target

  std::int64_t put(const std::string& key, const std::string& value) const {
    etcd::TxnBuilder builder;
    builder.put(key, value);
    return must(user->txn(builder.build())).header().revision();
  }
  void erase(const std::string& key) const {
    etcd::TxnBuilder builder;
    builder.erase(key);
    must(user->txn(builder.build()));
  }
  std::vector<etcd::wire::Pair> below(const std::string& begin) const {
    std::vector<etcd::wire::Pair> all;
    etcd::Pages pages(*user, {begin, etcd::prefix_end(begin)}, 0);
    for (;;) {
      const auto page = must(pages.next());
      if (!page) return all;
      all.insert(all.end(), page->kvs().begin(), page->kvs().end());
    }
  }
  Contents contents() const {
    Contents all;
    for (const auto& pair : below(prefix))
      all.emplace(pair.key(), pair.value());
    return all;
  }
  std::int64_t revision() const {
    etcd::wire::RangeRequest any;
    any.set_key("a");
    return must(user->range(any)).header().revision();
  }
  etcd::Record record() const {
    etcd::wire::RangeRequest request;
    request.set_key(etcd::record_key(mirror_name));
    return must(etcd::decode_record(must(user->range(request)).kvs(0).value()));
  }

  std::string source_prefix = prefix;  ///< as the source says it
  std::atomic<int> seen = 0;           ///< by a hook of the gate, which may be called until the mirror has ended
  Servers servers;
  EtcdGate gate{servers.endpoints().front().substr(std::string("http://").size())};
  std::shared_ptr<etcd::Client> user;
  TemporaryFolder folder;
  std::unique_ptr<EtcdDatabase> mirror;
};
using EtcdMirror = EtcdMirrorIn<SharedEtcd>;

inline std::string key_of(std::size_t number) { return fmt::format("/registry/k{:06}", number); }

/// So many keys, with values of so many bytes.
inline Contents many_keys(std::size_t count, std::size_t value_bytes = 1) {
  Contents contents;
  for (std::size_t i = 0; i < count; ++i)
    contents.emplace(key_of(i), std::string(value_bytes, 'x'));
  return contents;
}

/// Looks until it is so, or a minute is over.
template <class Condition>
bool becomes_true(const Condition& condition, std::chrono::milliseconds between = std::chrono::milliseconds(5)) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(between);
  }
  return true;
}
template <class Condition>
void eventually(const Condition& condition) {
  ASSERT_TRUE(becomes_true(condition));
}

/// Does the transaction change this key?
inline bool touches(const etcd::wire::TxnRequest& request, const std::string& key) {
  return std::ranges::any_of(request.success(), [&](const etcd::wire::RequestOperation& one) {
    if (one.has_txn()) return touches(one.txn(), key);
    return (one.has_put() && one.put().key() == key) ||
           (one.has_delete_range() && one.delete_range().range_end().empty() && one.delete_range().key() == key);
  });
}

}  // namespace crosslink::test
