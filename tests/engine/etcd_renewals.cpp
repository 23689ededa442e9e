// Certificates that change under a running node, as they do every few weeks: the servers ask for others from one moment
// on, and what is in our files by then is what they see.
#include <filesystem>
#include <fstream>
#include <string>

#include "crosslink/etcd_engine.hpp"
#include "crosslink/testing/engine_steps.hpp"
#include "support/certificates.hpp"
#include "support/etcd_server.hpp"
#include "support/etcd_user.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {
namespace {

namespace fs = std::filesystem;

class EtcdRenewals : public testing::Test {
 protected:
  /// What an authority gave, as a folder: of the servers, or of crosslink.
  void give(const Certificates& from, const std::string& name, const fs::path& folder) const {
    fs::create_directories(folder);
    const auto files = from.files(name);
    constexpr auto over = fs::copy_options::overwrite_existing;
    fs::copy_file(files.ca, folder / "ca.pem", over);
    fs::copy_file(files.cert, folder / "own.pem", over);
    fs::copy_file(files.key, folder / "own.key", over);
  }
  /// As Kubernetes does: a link to a folder, which is made to lead to another one in one step.
  void swap_ours(const Certificates& from, const std::string& folder) const {
    give(from, "crosslink", ours_ / folder);
    fs::create_directory_symlink(folder, ours_ / "..fresh");
    fs::rename(ours_ / "..fresh", ours_ / "..data");
  }
  EtcdServerOptions server_options() const {
    return {{},
            (servers_files_ / "ca.pem").string(),
            (servers_files_ / "own.pem").string(),
            (servers_files_ / "own.key").string()};
  }
  EtcdCluster cluster(const EtcdServers& servers) const {
    EtcdCluster cluster;
    cluster.endpoints = servers.endpoints();
    cluster.ca_file = ours_ / "..data" / "ca.pem";
    cluster.cert_file = ours_ / "..data" / "own.pem";
    cluster.key_file = ours_ / "..data" / "own.key";
    cluster.call_deadline = std::chrono::seconds(2);
    return cluster;
  }
  std::unique_ptr<EtcdDatabase> open_root(const EtcdServers& servers) const {
    EtcdOptions options;
    options.cluster = cluster(servers);
    options.prefix = "/a/";
    options.crosslink_cluster = "prod-us";
    options.folder = folder_.path() / "root";
    return must(EtcdDatabase::open_root(options));
  }
  /// Its user has files of its own.
  void put_and_see(const EtcdServers& servers, const std::string& key, EtcdDatabase& root) const {
    auto direct = cluster(servers);
    direct.ca_file = servers_files_ / "ca.pem";
    direct.cert_file = servers_files_ / "own.pem";
    direct.key_file = servers_files_ / "own.key";
    EtcdUser user(direct, "");
    must(root.wait_for(must(user.commit(std::array{Operation::put(key, "1")})), patience));
  }

  const Certificates old_{{"localhost", "crosslink"}}, fresh_{{"localhost", "crosslink"}};
  const TemporaryFolder folder_;
  const fs::path servers_files_ = folder_.path() / "servers", ours_ = folder_.path() / "ours";
};

TEST_F(EtcdRenewals, a_source_shows_the_renewed_certificate_when_its_servers_come_back) {
  give(old_, "localhost", servers_files_);
  swap_ours(old_, "1");
  EtcdServers servers(1, server_options());
  const auto root = open_root(servers);
  put_and_see(servers, "/a/1", *root);
  servers.kill(0);
  give(fresh_, "localhost", servers_files_);
  swap_ours(fresh_, "2");
  servers.start(0);
  servers.wait_until_ready();
  put_and_see(servers, "/a/2", *root);
  EXPECT_EQ(scan(*must(root->view()), "", std::nullopt).size(), 2u);
}

TEST_F(EtcdRenewals, half_a_renewal_leaves_the_old_certificate_in_use) {
  give(old_, "localhost", servers_files_);
  swap_ours(old_, "1");
  EtcdServers servers(1, server_options());
  const auto root = open_root(servers);
  put_and_see(servers, "/a/1", *root);
  servers.kill(0);
  fs::copy_file(fresh_.files("crosslink").cert, ours_ / "1" / "own.pem", fs::copy_options::overwrite_existing);
  servers.start(0);
  servers.wait_until_ready();
  put_and_see(servers, "/a/2", *root);
}

TEST_F(EtcdRenewals, a_file_that_cannot_be_used_is_named_when_a_database_is_opened) {
  give(old_, "localhost", servers_files_);
  swap_ours(old_, "1");
  const EtcdServers servers(1, server_options());
  std::ofstream(ours_ / "1" / "own.pem") << "garbage";
  EtcdOptions options;
  options.cluster = cluster(servers);
  options.crosslink_cluster = "prod-us";
  options.folder = folder_.path() / "root";
  const auto opened = EtcdDatabase::open_root(options);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind(), ErrorKind::Configuration);
  EXPECT_NE(opened.error().message().find("own.pem' holds no PEM certificate"), std::string::npos)
      << opened.error().message();
}

}  // namespace
}  // namespace crosslink::test
