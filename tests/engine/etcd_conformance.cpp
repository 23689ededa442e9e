// Databases in real etcd servers through the suite that every engine passes: the mirror once with the source's keys,
// once with another prefix.
#include <fmt/format.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <type_traits>

#include "crosslink/etcd_engine.hpp"
#include "crosslink/testing/engine_conformance.hpp"
#include "support/etcd_gate.hpp"
#include "support/etcd_server.hpp"
#include "support/etcd_user.hpp"

namespace crosslink::test {
namespace {

/// A write is tried so often before the engine says that it failed.
constexpr std::uint32_t transactions_tried = 3;

/// The log of a root is read from its very beginning: a server of its own. A mirror's begins with its bootstrap.
template <class Servers>
class TestedEtcd final : public TestedDatabase {
 public:
  explicit TestedEtcd(const std::string& prefix) : user_(servers_, prefix) {
    options_.cluster.endpoints = {gate_.endpoint()};
    options_.cluster.call_deadline = patience;
    options_.prefix = prefix;
    options_.crosslink_cluster = "prod-us";
    options_.folder = folder_.path() / "database";
    options_.name = "copy";
    options_.node = "node";
    gate_.before_txn([this](const auto& request) {
      if (request.compare().empty()) return grpc::Status::OK;  // it only reads
      auto left = failing_.load();
      while (left > 0 && !failing_.compare_exchange_weak(left, left - 1)) {
      }
      return left > 0 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "failed by order") : grpc::Status::OK;
    });
    open();
  }
  SourceEngine& source() override { return *database_; }
  MirrorEngine& mirror() override { return *database_; }
  VerifiableEngine& verifiable() override { return *database_; }
  Result<Lsn> commit(std::span<const Operation> operations) override {
    const auto lsn = user_.commit(operations);
    if (lsn) must(database_->wait_for(*lsn, patience));
    return lsn;
  }
  Contents read_all() override { return user_.read_all(); }
  bool reopen() override {
    database_.reset();
    open();
    return true;
  }
  bool fail_next(std::uint32_t calls) override {
    failing_ = calls * transactions_tried;
    return true;
  }
  bool fail_next_on_disk() override { return false; }
  bool trim_log() override {
    must(database_->compact());
    return true;
  }
  bool damage_stored_byte(std::uint64_t offset) override {
    std::fstream file(options_.folder / "partial" / "stream", std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const auto byte = file.get();
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 1));
    return byte != EOF && file.good();
  }

 private:
  static constexpr bool root = std::is_same_v<Servers, EtcdServers>;
  void open() { database_ = must(root ? EtcdDatabase::open_root(options_) : EtcdDatabase::open_mirror(options_)); }
  Servers servers_;
  std::atomic<std::uint32_t> failing_ = 0;
  EtcdGate gate_{servers_.endpoints().front().substr(std::string("http://").size())};
  TemporaryFolder folder_;
  EtcdUser user_;
  EtcdOptions options_;
  std::unique_ptr<EtcdDatabase> database_;
};

EngineUnderTest etcd_with(std::string name, const std::string& mirror_prefix) {
  return {.name = std::move(name),
          .make_root = [] { return std::make_unique<TestedEtcd<EtcdServers>>(""); },
          .make_empty_mirror = [=] { return std::make_unique<TestedEtcd<SharedEtcd>>(mirror_prefix); },
          .snapshots_max = EtcdOptions{}.snapshots_max};
}

INSTANTIATE_TEST_SUITE_P(Etcd, EngineConformance,
                         testing::Values(etcd_with("as_it_is", ""), etcd_with("renamed", "/copy/")),
                         [](const auto& engine) { return engine.param.name; });

}  // namespace
}  // namespace crosslink::test
