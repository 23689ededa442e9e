// A database in a real etcd server as a source, where etcd itself does what its users did not: goes back to a backup,
// is another one, is of another version.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "crosslink/etcd_engine.hpp"
#include "crosslink/testing/engine_steps.hpp"
#include "engine/etcd/history.hpp"
#include "engine/etcd/txn.hpp"
#include "engine/etcd_fixture.hpp"
#include "support/etcd_server.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {
namespace {

std::shared_ptr<etcd::Client> client_of(std::vector<std::string> endpoints) {
  EtcdCluster cluster;
  cluster.endpoints = std::move(endpoints);
  cluster.call_deadline = patience;
  return must(etcd::Client::open(cluster));
}

Lsn put(etcd::Client& client, const std::string& key, const std::string& value) {
  etcd::TxnBuilder builder;
  builder.put(key, value);
  return {static_cast<std::uint64_t>(must(client.txn(builder.build())).header().revision())};
}

template <class Servers>
class EtcdSourceIn : public ::testing::Test {
 protected:
  EtcdSourceIn() { user = client_of(servers.endpoints()); }
  void start() {
    servers.start(0);
    servers.wait_until_ready();
    user = client_of(servers.endpoints());
  }
  EtcdOptions options() const {
    EtcdOptions chosen;
    chosen.cluster.endpoints = servers.endpoints();
    chosen.prefix = "/registry/";
    chosen.crosslink_cluster = "prod-us";
    chosen.folder = folder.path() / "database";
    return chosen;
  }
  void open() {
    source = must(EtcdDatabase::open_root(options()));
    source->watch_history([this] { ++history_changes; });
  }
  Lsn put(const std::string& key, const std::string& value) const { return test::put(*user, key, value); }
  EntryId last_entry() const {
    const std::vector<std::string> formats{std::string(kv_format)};
    return must(source->open_snapshot(formats, std::nullopt))->facts().last_entry;
  }
  std::uint64_t times_gone_back() const { return source->source_state().times_gone_back; }

  Servers servers;
  std::shared_ptr<etcd::Client> user;
  TemporaryFolder folder;
  std::atomic<int> history_changes = 0;
  std::unique_ptr<EtcdDatabase> source;
};
using EtcdSource = EtcdSourceIn<SharedEtcd>;
// For what ends the server.
using EtcdSourceOutage = EtcdSourceIn<EtcdServers>;
using EtcdMirrorOutage = EtcdMirrorIn<EtcdServers>;

TEST_F(EtcdSource, a_database_idle_for_long_in_a_busy_cluster_has_a_last_entry_that_its_own_log_proves) {
  const auto ours = put("/registry/a", "1");
  Lsn head;
  for (int i = 0; i < 1100; ++i)
    head = put("/elsewhere", std::to_string(i));
  open();
  ASSERT_EQ(source->source_state().head, head);
  const auto last = last_entry();
  EXPECT_EQ(last.lsn, ours);
  EXPECT_EQ(must(source->prove(last, head)), PositionProof::same);
}

TEST_F(EtcdSourceOutage, a_cluster_restored_from_a_backup_is_noticed_while_it_is_followed) {
  put("/registry/a", "1");
  servers.kill(0);
  servers.back_up();
  start();
  open();
  for (int i = 0; i < 5; ++i)
    must(source->wait_for(put("/registry/lost", std::to_string(i)), patience));
  const auto lost = last_entry();
  servers.kill(0);
  servers.restore();
  start();
  ASSERT_TRUE(becomes_true([&] { return history_changes == 1; }));
  const auto newest = put("/registry/b", "1");
  ASSERT_LT(newest, lost.lsn);
  must(source->wait_for(newest, patience));
  EXPECT_EQ(source->source_state().head, newest);
  EXPECT_EQ(last_entry().lsn, newest);
  EXPECT_EQ(times_gone_back(), 1u);
}

TEST_F(EtcdSourceOutage, a_cluster_restored_and_written_on_before_it_is_seen_again_is_noticed) {
  put("/registry/a", "1");
  servers.kill(0);
  servers.back_up();
  start();
  open();
  must(source->wait_for(put("/registry/lost", "1"), patience));
  must(source->wait_for(put("/elsewhere", "1"), patience));
  const auto lost = last_entry();
  const auto head = source->source_state().head;
  servers.kill(0);
  servers.restore();
  {
    const auto aside = client_of({servers.start_aside(0)});
    while (test::put(*aside, "/registry/other", "1") <= Lsn{head.value + 10}) {
    }
  }
  servers.kill(0);
  start();
  ASSERT_TRUE(becomes_true([&] { return history_changes == 1; }));
  must(source->wait_for(put("/registry/b", "1"), patience));
  EXPECT_EQ(must(source->prove(lost, source->source_state().head)), PositionProof::diverged);
  EXPECT_EQ(must(source->prove(last_entry(), source->source_state().head)), PositionProof::same);
}

TEST_F(EtcdSourceOutage, a_restart_of_the_cluster_alone_is_no_step_back) {
  open();
  must(source->wait_for(put("/registry/a", "1"), patience));
  must(source->wait_for(put("/elsewhere", "1"), patience));
  servers.kill(0);
  start();
  must(source->wait_for(put("/registry/a", "2"), patience));
  EXPECT_EQ(times_gone_back(), 0u);
  EXPECT_EQ(history_changes, 0);
  EXPECT_TRUE(becomes_true([&] { return source->detail().empty(); })) << "on an idle cluster as well";
}

TEST_F(EtcdSourceOutage, a_delete_that_a_compaction_lands_on_while_the_watch_is_cut_is_not_lost) {
  open();
  put("/registry/a", "1");
  const auto head = put("/registry/b", "1");
  must(source->wait_for(head, patience));
  servers.kill(0);
  Lsn deleted;
  {
    const auto aside = client_of({servers.start_aside(0)});
    etcd::TxnBuilder builder;
    builder.erase("/registry/a");
    const auto revision = must(aside->txn(builder.build())).header().revision();
    deleted = etcd::lsn_of(revision);
    ASSERT_EQ(deleted, Lsn{head.value + 1});
    must(aside->compact(revision));
  }
  servers.kill(0);
  start();
  must(source->wait_for(put("/registry/c", "1"), patience));
  // Either the log has the delete, or it says that it does not go back so far.
  const auto slice = source->read_log(head, 1'000'000);
  if (slice) {
    std::span<const std::byte> entries = *slice->entries;
    const auto first = must(read_entry(entries));
    EXPECT_EQ(first.lsn(), deleted);
  } else {
    EXPECT_EQ(refusal(slice), "LogWindowExceeded");
  }
  EXPECT_EQ(times_gone_back(), 0U);
}

TEST_F(EtcdSourceOutage, a_compaction_of_what_was_read_costs_no_bootstrap) {
  open();
  const auto head = put("/registry/a", "1");
  must(source->wait_for(head, patience));
  must(user->compact(static_cast<std::int64_t>(head.value)));
  servers.kill(0);
  start();
  must(source->wait_for(put("/registry/b", "1"), patience));
  EXPECT_EQ(must(source->read_log(head, 1'000'000)).count, 1U);
}

TEST_F(EtcdSourceOutage, an_endpoint_of_another_cluster_is_not_followed) {
  const SharedEtcd other;
  const auto other_client = client_of(other.endpoints());
  auto both = options();
  both.cluster.endpoints.push_back(other.endpoints().front());
  source = must(EtcdDatabase::open_root(both));
  const auto head = put("/registry/a", "1");
  must(source->wait_for(head, patience));
  servers.kill(0);
  for (int i = 0; i < 20; ++i)
    test::put(*other_client, "/registry/of another client", "1");
  EXPECT_TRUE(becomes_true([&] { return source->detail().find("another cluster answers") != std::string::npos; }))
      << source->detail();
  EXPECT_EQ(source->source_state().head, head);
  start();
  must(source->wait_for(put("/registry/a", "2"), patience));
}

TEST_F(EtcdSourceOutage, its_only_endpoint_is_reached_again_after_an_outage) {
  etcd::wire::RangeRequest any;
  any.set_key("a");
  for (int outage = 0; outage < 3; ++outage) {
    servers.kill(0);
    EXPECT_EQ(refusal(user->range(any)), "Storage");
    servers.start(0);
    // No other client here: in one process they all drive each other's connections.
    EXPECT_TRUE(becomes_true([&] { return user->range(any).ok(); }, std::chrono::milliseconds(500)))
        << "outage " << outage;
  }
}

TEST_F(EtcdSource, nodes_before_one_cluster_agree_on_the_incarnation_of_one_database) {
  const auto incarnation_of = [this](const std::string& name, const std::function<void(EtcdOptions&)>& change) {
    auto chosen = options();
    chosen.folder = folder.path() / name;
    change(chosen);
    return must(EtcdDatabase::open_root(chosen))->source_state().origin;
  };
  const auto first = incarnation_of("first", [](auto&) {});
  EXPECT_EQ(incarnation_of("second", [](auto&) {}), first);
  EXPECT_NE(incarnation_of("other prefix", [](auto& chosen) { chosen.prefix = "/reg"; }), first);
  EXPECT_NE(incarnation_of("excludes", [](auto& chosen) { chosen.excludes = {"/registry/events/"}; }), first);
  EXPECT_NE(incarnation_of("other name", [](auto& chosen) { chosen.crosslink_cluster = "prod-eu"; }), first);
}

TEST_F(EtcdMirrorOutage, one_whose_target_was_restored_is_no_continuation_for_those_who_mirror_it) {
  auto direct = options();
  direct.cluster.endpoints = servers.endpoints();
  mirror = must(EtcdDatabase::open_mirror(direct));
  const auto start = [this] {
    servers.start(0);
    servers.wait_until_ready();
  };
  const auto key = key_of(1);
  const Commits change{{Operation::put(key, "changed")}};
  bootstrap(many_keys(2), Lsn{10});
  must(apply(change));
  servers.kill(0);
  servers.back_up();
  start();
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(becomes_true([&] { return apply(change).ok(); }));
  const auto head = mirror->source_state().head;
  std::atomic<int> history_changes = 0;
  mirror->watch_history([&] { ++history_changes; });
  servers.kill(0);
  servers.restore();
  start();
  // The next write finds it, and what it would have gone on from is read anew.
  ASSERT_TRUE(becomes_true([&] {
    static_cast<void>(apply(change));
    return mirror->source_state().times_gone_back == 1;
  }));
  EXPECT_TRUE(becomes_true([&] { return history_changes == 1; }));
  EXPECT_LT(mirror->source_state().head, head);
  mirror->watch_history({});
}

// --- large revisions

/// A watch of one's own, to see what the server does.
std::vector<etcd::wire::WatchResponse> answers_of_a_watch(const std::string& endpoint, Lsn after, Lsn up_to) {
  const auto channel =
      grpc::CreateChannel(endpoint.substr(std::string("http://").size()), grpc::InsecureChannelCredentials());
  grpc::ClientContext context;
  const auto stub = etcdserverpb::Watch::NewStub(channel);
  const auto stream = stub->Watch(&context);
  etcd::wire::WatchRequest request;
  request.mutable_create()->set_key("/registry/");
  request.mutable_create()->set_range_end("/registry0");
  request.mutable_create()->set_start_revision(static_cast<std::int64_t>(after.value) + 1);
  request.mutable_create()->set_fragment(true);
  stream->Write(request);
  std::vector<etcd::wire::WatchResponse> answers;
  for (etcd::wire::WatchResponse answer; stream->Read(&answer);) {
    answers.push_back(answer);
    const auto& events = answer.events();
    if (!events.empty() && events.rbegin()->kv().mod_revision() == static_cast<std::int64_t>(up_to.value) &&
        !answer.fragment())
      break;
  }
  context.TryCancel();
  static_cast<void>(stream->Finish());  // cancelled, by us
  return answers;
}

TEST_F(EtcdSource, revisions_that_the_server_sends_in_pieces_are_put_together) {
  constexpr std::size_t operations = 100, revisions = 6;
  const auto before = put("/elsewhere", "1");
  auto head = before;
  for (std::size_t revision = 0; revision < revisions; ++revision) {
    etcd::TxnBuilder builder;
    for (std::size_t i = 0; i < operations; ++i)
      builder.put(fmt::format("/registry/{:03}", i), std::string(12'000, static_cast<char>('a' + revision)));
    head.value = static_cast<std::uint64_t>(must(user->txn(builder.build())).header().revision());
  }
  std::size_t cut = 0;  // pieces that end within a revision
  const auto answers = answers_of_a_watch(servers.endpoints().front(), before, head);
  for (std::size_t i = 0; i + 1 < answers.size(); ++i) {
    if (!answers[i].fragment() || answers[i].events().empty() || answers[i + 1].events().empty()) continue;
    cut += answers[i].events().rbegin()->kv().mod_revision() == answers[i + 1].events(0).kv().mod_revision() ? 1 : 0;
  }
  ASSERT_GT(cut, 0u) << "this server cut no revision";
  open();
  auto at = before;
  std::size_t entries = 0;
  while (at < head) {
    const auto slice = must(source->read_log(at, 1024));
    ASSERT_GT(slice.last_lsn, at);
    at = slice.last_lsn;
    for (std::span<const std::byte> rest = *slice.entries; !rest.empty(); ++entries)
      EXPECT_EQ(must(read_entry(rest)).operation_count(), operations);
  }
  EXPECT_EQ(entries, revisions);
}

// --- members of several versions

/// Answers as a member of that version does, as far as a watch asks.
class Member final : public etcdserverpb::Maintenance::Service,
                     public etcdserverpb::Watch::Service,
                     public etcdserverpb::KV::Service {
 public:
  /// `answers`: requests for progress, as a member does, and a proxy does not.
  explicit Member(std::string version, bool answers = true) : version_(std::move(version)), answers_(answers) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(static_cast<etcdserverpb::Maintenance::Service*>(this));
    builder.RegisterService(static_cast<etcdserverpb::Watch::Service*>(this));
    builder.RegisterService(static_cast<etcdserverpb::KV::Service*>(this));
    server_ = builder.BuildAndStart();
  }
  ~Member() override { server_->Shutdown(std::chrono::system_clock::now()); }
  std::string endpoint() const { return fmt::format("http://127.0.0.1:{}", port_); }
  std::string watched() const {
    const std::scoped_lock lock(mutex_);
    return watched_;
  }
  grpc::Status Status(grpc::ServerContext*, const etcd::wire::StatusRequest*,
                      etcd::wire::StatusResponse* response) override {
    response->set_version(version_);
    return grpc::Status::OK;
  }
  grpc::Status Range(grpc::ServerContext*, const etcd::wire::RangeRequest*,
                     etcd::wire::RangeResponse* response) override {
    response->mutable_header()->set_revision(1);
    return grpc::Status::OK;
  }
  grpc::Status Watch(grpc::ServerContext*,
                     grpc::ServerReaderWriter<etcd::wire::WatchResponse, etcd::wire::WatchRequest>* stream) override {
    etcd::wire::WatchRequest request;
    while (stream->Read(&request)) {
      if (request.has_progress() && answers_) {
        etcd::wire::WatchResponse progress;
        progress.mutable_header()->set_revision(1);
        stream->Write(progress);
      }
      if (!request.has_create()) continue;
      {
        const std::scoped_lock lock(mutex_);
        watched_ = request.create().key();
      }
      etcd::wire::WatchResponse created;
      created.set_created(true);
      stream->Write(created);
    }
    return grpc::Status::OK;
  }

 private:
  const std::string version_;
  const bool answers_;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::string watched_;
  std::unique_ptr<grpc::Server> server_;
};

TEST(EtcdVersions, those_that_lose_a_delete_at_a_compaction_are_known) {
  for (const auto* faulty : {"3.4.23", "3.4.35", "3.5.17", "3.3.27"})
    EXPECT_TRUE(etcd::Version::parse(faulty).loses_deletes_at_compaction()) << faulty;
  for (const auto* mended : {"3.4.36", "3.5.18", "3.6.0", "3.7.3", "4.0.0"})
    EXPECT_FALSE(etcd::Version::parse(mended).loses_deletes_at_compaction()) << mended;
}

TEST(EtcdVersions, a_member_whose_progress_overtakes_events_is_not_asked_for_it_though_another_could_be) {
  using enum etcd::LogOrigin::Scope;
  Member mended("3.5.13"), old("3.5.12");
  const auto client = client_of({mended.endpoint(), old.endpoint()});
  const etcd::LogOrigin origin{client, {"/registry/", "/registry/", {}}, "", nullptr, asked_progress};
  EXPECT_EQ(must(origin.watch(1)).scope, asked_progress);
  EXPECT_EQ(mended.watched(), "/registry/");
  client->failed(client->place());
  EXPECT_EQ(must(origin.watch(1)).scope, everything);
  EXPECT_EQ(old.watched(), etcd::first_key);
}

TEST(EtcdVersions, an_endpoint_that_never_answers_a_request_for_progress_is_watched_as_a_whole) {
  using enum etcd::LogOrigin::Scope;
  Member proxy("3.6.16", false);
  const auto client = client_of({proxy.endpoint()});
  const etcd::LogOrigin origin{client, {"/registry/", "/registry/", {}}, "", nullptr, asked_progress};
  EXPECT_EQ(must(origin.watch(1)).scope, everything);
  EXPECT_EQ(proxy.watched(), etcd::first_key);
  // It is known by then: it is not waited for again.
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(must(origin.watch(1)).scope, everything);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
}

}  // namespace
}  // namespace crosslink::test
