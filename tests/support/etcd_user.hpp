// Writes and reads as etcd's users do.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "crosslink/etcd_engine.hpp"
#include "crosslink/testing/engine_steps.hpp"
#include "engine/etcd/txn.hpp"
#include "support/etcd_server.hpp"

namespace crosslink::test {

/// Of a node of prod-us before those servers.
inline EtcdOptions options_at(const EtcdServers& servers, const std::filesystem::path& folder) {
  EtcdOptions options;
  options.cluster.endpoints = servers.endpoints();
  options.cluster.call_deadline = patience;
  options.crosslink_cluster = "prod-us";
  options.folder = folder;
  return options;
}

class EtcdUser {
 public:
  EtcdUser(const EtcdServers& servers, std::string prefix) : EtcdUser(cluster_of(servers), std::move(prefix)) {}
  EtcdUser(const EtcdCluster& cluster, std::string prefix)
      : prefix_(std::move(prefix)), client_(must(etcd::Client::open(cluster))) {}
  Result<Lsn> commit(std::span<const Operation> operations) {
    // etcd takes each key once in a transaction.
    const etcd::KeySpace keys{prefix_, "", {}};
    etcd::Fold fold;
    for (const auto& operation : operations) {
      auto added = fold.add(operation, keys, [this](const auto& range) { return keys_in(range); });
      if (!added) return added.error();
    }
    etcd::TxnBuilder builder;
    for (auto& change : fold.take()) {
      if (change.value) {
        builder.put(change.key, *change.value);
      } else {
        builder.erase(change.key);
      }
    }
    const auto done = client_->txn(builder.build());
    if (!done) return done.error();
    return Lsn{static_cast<std::uint64_t>(done->header().revision())};
  }
  etcd::Client& client() { return *client_; }
  Contents read_all() {
    Contents contents;
    const etcd::KeySpace keys{prefix_, "", {}};
    etcd::Pages pages(*client_, keys.all(), 0);
    for (;;) {
      const auto page = must(pages.next());
      if (!page) return contents;
      for (const auto& kv : page->kvs()) {
        if (keys.contains(kv.key())) contents.emplace(keys.offered(kv.key()), kv.value());
      }
    }
  }

 private:
  static EtcdCluster cluster_of(const EtcdServers& servers) {
    EtcdCluster cluster;
    cluster.endpoints = servers.endpoints();
    cluster.call_deadline = patience;
    return cluster;
  }
  Result<std::vector<std::string>> keys_in(const etcd::KeySpace::OwnRange& range) {
    std::vector<std::string> all;
    etcd::Pages pages(*client_, range, 0, true);
    for (;;) {
      const auto page = must(pages.next());
      if (!page) return all;
      for (const auto& kv : page->kvs())
        all.push_back(kv.key());
    }
  }
  std::string prefix_;
  std::shared_ptr<etcd::Client> client_;
};

}  // namespace crosslink::test
