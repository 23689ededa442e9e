// Members that hang, and clusters that ask for certificates.
#include <chrono>
#include <stop_token>
#include <string>
#include <thread>

#include "crosslink/etcd_engine.hpp"
#include "crosslink/testing/engine_steps.hpp"
#include "support/certificates.hpp"
#include "support/etcd_server.hpp"
#include "support/etcd_user.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {
namespace {

using Clock = std::chrono::steady_clock;
/// docs/etcd.md speaks of ten seconds; machines that run tests are slow.
constexpr std::chrono::seconds moved_on_after(40);

EtcdOptions options_of(const EtcdCluster& cluster, const std::filesystem::path& folder) {
  EtcdOptions options;
  options.cluster = cluster;
  options.prefix = "/a/";
  options.crosslink_cluster = "prod-us";
  options.folder = folder;
  options.name = "copy";
  options.node = "node";
  return options;
}

void put(EtcdUser& user, const std::string& key, EtcdDatabase& root) {
  const auto until = Clock::now() + moved_on_after;
  auto lsn = user.commit(std::array{Operation::put(key, "1")});
  while (!lsn && Clock::now() < until)  // it has no leader for a while
    lsn = user.commit(std::array{Operation::put(key, "1")});
  must(root.wait_for(must(lsn), moved_on_after));
}

void bootstrap_from(EtcdDatabase& mirror, EtcdDatabase& root) {
  receive(mirror, *open_kv(root), 700);
  must(mirror.check_snapshot());
  must(mirror.switch_snapshot());
}

std::string apply_next(EtcdDatabase& mirror, EtcdDatabase& root) {
  const auto before = position_of(mirror);
  const auto slice = must(root.read_log(before.applied_lsn, std::size_t{1} << 20));
  return refusal(mirror.apply({{*slice.entries}, position_after(slice, root, before)}));
}

/// A cluster of three, of which one hangs: it takes connections and answers nothing.
class EtcdThatHangs : public testing::Test {
 protected:
  EtcdCluster others() const {
    EtcdCluster cluster;
    cluster.endpoints = {servers_.endpoints()[1], servers_.endpoints()[2]};
    cluster.call_deadline = patience;
    return cluster;
  }
  EtcdCluster all() const {
    EtcdCluster cluster;
    cluster.endpoints = servers_.endpoints();
    return cluster;
  }
  void TearDown() override { servers_.thaw(0); }
  EtcdServers servers_{3};
  TemporaryFolder folder_;
};

TEST_F(EtcdThatHangs, a_source_goes_on_with_another_member) {
  const auto root = must(EtcdDatabase::open_root(options_of(all(), folder_.path() / "root")));
  EtcdUser user(others(), "");
  put(user, "/a/1", *root);
  servers_.freeze(0);
  put(user, "/a/2", *root);
  EXPECT_EQ(scan(*must(root->view()), "", std::nullopt).size(), 2u);
}

TEST_F(EtcdThatHangs, a_mirror_goes_on_with_another_member) {
  const SharedEtcd other_servers;
  EtcdCluster source;
  source.endpoints = other_servers.endpoints();
  source.call_deadline = patience;
  const auto root = must(EtcdDatabase::open_root(options_of(source, folder_.path() / "root")));
  EtcdUser user(source, "");
  put(user, "/a/1", *root);
  const auto mirror = must(EtcdDatabase::open_mirror(options_of(all(), folder_.path() / "copy")));
  bootstrap_from(*mirror, *root);
  servers_.freeze(0);
  put(user, "/a/2", *root);
  const auto begin = Clock::now();
  EXPECT_EQ(apply_next(*mirror, *root), "done");
  EXPECT_LT(Clock::now() - begin, moved_on_after);
  EtcdUser reader(others(), "");
  EXPECT_EQ(reader.read_all().size(), 2u);
  // What was sent to the one that hung is looked at when it goes on, and is too late.
  must(user.commit(std::array{Operation::erase("/a/2")}));
  put(user, "/a/3", *root);
  EXPECT_EQ(apply_next(*mirror, *root), "done");
  servers_.thaw(0);
  put(user, "/a/4", *root);
  EXPECT_EQ(apply_next(*mirror, *root), "done");
  EXPECT_EQ(reader.read_all(), user.read_all());
}

/// Servers that want TLS and a certificate of each client.
class EtcdWithCertificates : public testing::Test {
 protected:
  EtcdServerOptions server_options() const {
    const auto files = certificates_.files("localhost");
    return {{}, files.ca.string(), files.cert.string(), files.key.string()};
  }
  EtcdCluster cluster(const EtcdServers& servers) const {
    const auto files = certificates_.files("crosslink");
    EtcdCluster cluster;
    cluster.endpoints = servers.endpoints();
    cluster.ca_file = files.ca;
    cluster.cert_file = files.cert;
    cluster.key_file = files.key;
    cluster.call_deadline = patience;
    return cluster;
  }
  std::string said_to(EtcdCluster cluster) {
    const auto opened = EtcdDatabase::open_root(options_of(cluster, folder_.path() / "refused"));
    return opened ? "done" : std::string(to_string(opened.error().kind())) + " " + opened.error().message();
  }
  Certificates certificates_{{"localhost", "crosslink"}}, others_{{"crosslink"}};
  TemporaryFolder folder_;
};

TEST_F(EtcdWithCertificates, source_and_mirror_work) {
  const EtcdServers source_servers(1, server_options()), target_servers(1, server_options());
  const auto source = cluster(source_servers), target = cluster(target_servers);
  const auto root = must(EtcdDatabase::open_root(options_of(source, folder_.path() / "root")));
  const auto mirror = must(EtcdDatabase::open_mirror(options_of(target, folder_.path() / "copy")));
  EtcdUser user(source, "");
  put(user, "/a/1", *root);
  bootstrap_from(*mirror, *root);
  put(user, "/a/2", *root);
  EXPECT_EQ(apply_next(*mirror, *root), "done");
  EtcdUser reader(target, "");
  EXPECT_EQ(reader.read_all(), user.read_all());
}

TEST_F(EtcdWithCertificates, another_authority_or_no_certificate_is_told_as_what_it_is) {
  const EtcdServers servers(1, server_options());
  auto other_authority = cluster(servers);
  other_authority.ca_file = others_.files("crosslink").ca;
  EXPECT_NE(said_to(other_authority).find("of the authority given"), std::string::npos) << said_to(other_authority);
  auto other_certificate = cluster(servers);
  other_certificate.cert_file = others_.files("crosslink").cert;
  other_certificate.key_file = others_.files("crosslink").key;
  EXPECT_NE(said_to(other_certificate).find("certificate"), std::string::npos) << said_to(other_certificate);
  auto none = cluster(servers);
  none.cert_file.clear();
  none.key_file.clear();
  EXPECT_NE(said_to(none).find("certificate"), std::string::npos) << said_to(none);
  EXPECT_EQ(said_to(cluster(servers)), "done");
}

TEST(EtcdThatHangsAtTheEnd, held_up_a_process_that_stops) {
  EtcdServers servers;
  TemporaryFolder folder;
  std::stop_source stop;
  auto options = options_at(servers, folder.path() / "copy");
  options.cluster.call_deadline = 2 * moved_on_after;
  options.name = "copy";
  options.node = "node";
  options.stop = stop.get_token();
  auto mirror = must(EtcdDatabase::open_mirror(options));
  must(mirror->own());
  servers.freeze(0);
  const auto begun = Clock::now();
  std::string said;
  std::jthread asking([&] { said = refusal(mirror->check_target()); });
  stop.request_stop();
  asking.join();
  EXPECT_EQ(said, "Storage");
  mirror.reset();
  EXPECT_EQ(refusal(EtcdDatabase::open_mirror(options)), "Storage");
  EXPECT_LT(Clock::now() - begun, moved_on_after);
}

}  // namespace
}  // namespace crosslink::test
