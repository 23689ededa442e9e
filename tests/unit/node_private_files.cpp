// Who else may read a secret, judged as PostgreSQL judges a key.
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "node/hosting/private_files.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::node {
namespace {

namespace fs = std::filesystem;

constexpr uid_t service = 4141;
constexpr gid_t service_group = 4141, volume_group = 4242, other_group = 4343;

/// A node runs as a user of its own, in the group of its volumes. Only root can make such a one.
class PrivateFiles : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    fs::permissions(folder_.path(), fs::perms(0711));
  }
  fs::path file(uid_t user, gid_t group, mode_t mode) const {
    const auto path = folder_.path() / "secret";
    std::ofstream(path) << "x\n";
    EXPECT_EQ(::chown(path.c_str(), user, group), 0);
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  fs::path made_folder(uid_t user, gid_t group, mode_t mode) const {
    const auto path = folder_.path() / "data";
    fs::create_directory(path);
    EXPECT_EQ(::chown(path.c_str(), user, group), 0);
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  /// As the service: "" or the refusal.
  template <class Check>
  static std::string as_service(Check check) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe(ends), 0);
    const auto child = ::fork();
    if (child == 0) {
      const bool changed = ::setgroups(1, &volume_group) == 0 && ::setgid(service_group) == 0 && ::setuid(service) == 0;
      const Result<void> done = changed ? check() : MirrorError::configuration("another user cannot be had");
      const auto said = done ? std::string() : done.error().message();
      const bool written = ::write(ends[1], said.data(), said.size()) == static_cast<ssize_t>(said.size());
      ::_exit(written ? 0 : 1);
    }
    ::close(ends[1]);
    std::string said;
    char piece[512];
    for (ssize_t got = 0; (got = ::read(ends[0], piece, sizeof piece)) > 0;)
      said.append(piece, static_cast<std::size_t>(got));
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    return said;
  }
  static std::string judged(const fs::path& path) {
    return as_service([&path] { return check_private(path); });
  }
  static mode_t mode_of(const fs::path& path) {
    struct stat facts{};
    EXPECT_EQ(::stat(path.c_str(), &facts), 0);
    return facts.st_mode & 07777u;
  }
  test::TemporaryFolder folder_;
};

TEST_F(PrivateFiles, a_key_of_roots_that_a_group_of_ours_may_read_is_private) {
  for (const mode_t mode : {0440u, 0640u, 0600u, 0400u}) {
    EXPECT_EQ(judged(file(0, volume_group, mode)), "") << std::oct << mode;
    EXPECT_EQ(judged(file(0, service_group, mode)), "") << std::oct << mode;
  }
  EXPECT_EQ(judged(file(service, service_group, 0600)), "");
}

TEST_F(PrivateFiles, a_key_that_others_may_touch_is_refused_with_its_mode_and_its_owner) {
  for (const mode_t mode : {0644u, 0444u, 0660u, 0604u, 0650u, 0641u})
    EXPECT_NE(judged(file(0, volume_group, mode)).find("others may read"), std::string::npos) << std::oct << mode;
  EXPECT_NE(judged(file(0, other_group, 0640)).find("others may read"), std::string::npos) << "a group not ours";
  EXPECT_NE(judged(file(service, volume_group, 0640)).find("others may read"), std::string::npos) << "ours, not root's";
  const auto said = judged(file(service, volume_group, 0640));
  EXPECT_NE(said.find("it has mode 0640 and belongs to 4141:4242; chmod 600 it"), std::string::npos) << said;
}

TEST_F(PrivateFiles, what_the_node_made_is_closed_again_after_a_remount_that_opened_it_to_the_group) {
  const auto keep = [](const fs::path& path) { return as_service([&path] { return make_private_folder(path); }); };
  const auto data = made_folder(service, volume_group, 02770);
  EXPECT_EQ(as_service([&data] { return check_kept_private(data); }), "");
  EXPECT_EQ(mode_of(data), 02770u) << "a check changes nothing";
  EXPECT_EQ(keep(data), "");
  EXPECT_EQ(mode_of(data) & 0777u, 0700u);
  EXPECT_NE(keep(made_folder(service, volume_group, 0775)).find("others may read"), std::string::npos);
}

TEST_F(PrivateFiles, a_mount_of_roots_that_is_open_to_a_group_of_ours_is_private) {
  EXPECT_EQ(as_service([path = made_folder(0, volume_group, 02770)] { return make_private_folder(path); }), "");
  EXPECT_NE(judged(made_folder(0, other_group, 02770)).find("others may read"), std::string::npos);
  EXPECT_NE(judged(made_folder(0, volume_group, 02775)).find("others may read"), std::string::npos);
}

TEST_F(PrivateFiles, what_is_not_there_is_no_trouble_of_theirs) { EXPECT_EQ(judged(folder_.path() / "none"), ""); }

}  // namespace
}  // namespace crosslink::node
