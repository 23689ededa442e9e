// Goal: what a node notes in small files is, after a power cut, what it was before the change or after it, and after it
// once the change was confirmed. Method: a disk that loses what was not synced, bytes and names, cut at each change.
#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "node/admin/admin_port.hpp"
#include "node/hosting/catalog.hpp"
#include "node/hosting/counted_mirrors.hpp"
#include "node/hosting/private_files.hpp"
#include "support/power_cuts.hpp"

namespace crosslink::node {
namespace {

using base::Files;
using base::Path;

TEST(NodePower, a_file_that_was_replaced_is_the_old_one_or_the_new_and_stays_the_new_once_confirmed) {
  const std::vector<std::string> contents{"first", std::string(9000, '2'), "", "the last"};
  std::size_t confirmed = 0;
  const auto changes = test::cut_at_each_change(
      [&](const Files& files, const Path& folder) {
        confirmed = 0;
        if (!files.make_folder(folder)) return;
        for (const auto& content : contents) {
          if (!files.replace(folder / "file", content)) return;
          ++confirmed;
        }
      },
      [&](const Files& files, const Path& folder, bool cut) {
        const auto found = files.read(folder / "file", 10'000);
        ASSERT_TRUE(found) << found.error().message();
        EXPECT_EQ(cut, confirmed < contents.size());
        if (!*found) {
          EXPECT_EQ(confirmed, 0U) << "what was confirmed is gone";
          return;
        }
        const std::string text(base::text_of(**found));
        const bool is_confirmed = confirmed > 0 && text == contents[confirmed - 1];
        EXPECT_TRUE(is_confirmed || (cut && text == contents[confirmed])) << text.size() << " bytes";
      });
  EXPECT_GT(changes, 10U);
}

TEST(NodePower, a_folder_that_was_moved_or_removed_does_not_come_back_once_confirmed) {
  int confirmed = 0;
  test::cut_at_each_change(
      [&](const Files& files, const Path& folder) {
        confirmed = 0;
        if (!files.make_folder(folder / "old" / "within") || !files.replace(folder / "old" / "file", "content")) return;
        confirmed = 1;
        if (!files.move(folder / "old", folder / "aside" / "1")) return;
        confirmed = 2;
        if (files.remove_durably(folder / "aside" / "1")) confirmed = 3;
      },
      [&](const Files& files, const Path& folder, bool cut) {
        EXPECT_EQ(cut, confirmed < 3);
        const bool old = files.exists(folder / "old"), aside = files.exists(folder / "aside" / "1");
        if (confirmed == 1) {
          EXPECT_NE(old, aside);
        }
        if (confirmed == 2) {
          EXPECT_FALSE(old);
        }
        if (confirmed == 3) {
          EXPECT_FALSE(old || aside);
        }
        if (confirmed == 1) {
          EXPECT_EQ(*files.read_text(folder / (old ? "old" : "aside/1") / "file", 100), "content");
        }
      });
}

std::set<std::string> names_in(const Catalog& catalog) {
  std::set<std::string> names;
  for (const auto& entry : catalog.entries())
    names.insert(entry.name);
  return names;
}

TEST(NodePower, a_catalog_has_each_change_that_was_confirmed) {
  std::set<std::string> before, now;  // what it has, and had before the change that was cut
  const auto changes = test::cut_at_each_change(
      [&](const Files& files, const Path& folder) {
        before = now = {};
        if (!make_private_folder(folder, files)) return;
        auto catalog = Catalog::load(folder / "catalog.json", files);
        ASSERT_TRUE(catalog) << catalog.error().message();
        for (const std::string name : {"a", "b", "c", "-b", "-a", "d"}) {
          before = now;
          const bool removes = name.starts_with('-');
          if (removes) {
            now.erase(name.substr(1));
          } else {
            now.insert(name);
          }
          CatalogEntry entry;
          entry.name = name;
          const bool done = removes ? catalog->remove(name.substr(1)).ok() : catalog->put(entry).ok();
          EXPECT_EQ(names_in(*catalog), done ? now : before) << "it is unchanged where a change fails";
          if (!done) return;
        }
        before = now;
      },
      [&](const Files& files, const Path& folder, bool) {
        const auto catalog = Catalog::load(folder / "catalog.json", files);
        ASSERT_TRUE(catalog) << catalog.error().message();
        const auto found = names_in(*catalog);
        EXPECT_TRUE(found == before || found == now) << found.size() << " databases";
        EXPECT_TRUE(catalog->found() || before.empty());
      });
  EXPECT_GT(changes, 20U);
}

TEST(NodePower, a_token_that_was_told_stays_the_token) {
  std::string told;
  test::cut_at_each_change(
      [&](const Files& files, const Path& folder) {
        told.clear();
        if (!make_private_folder(folder, files)) return;
        const auto token = read_or_make_token(folder / "admin.token", files);
        if (token) told = *token;
      },
      [&](const Files& files, const Path& folder, bool cut) {
        EXPECT_EQ(cut, told.empty());
        const auto made = make_private_folder(folder, files);
        ASSERT_TRUE(made) << made.error().message();
        // RocksDB's disk has no modes.
        if (files.exists(folder / "admin.token")) {
          std::filesystem::permissions(folder / "admin.token", std::filesystem::perms(0600));
        }
        const auto token = read_or_make_token(folder / "admin.token", files);
        ASSERT_TRUE(token) << token.error().message();
        if (!told.empty()) {
          EXPECT_EQ(*token, told);
        }
      });
}

TEST(NodePower, mirrors_that_are_counted_stay_counted) {
  const CountedMirrors one{{"far", {"users", MirrorId{{std::byte{1}}}}}};
  const CountedMirrors two{{"far", {"users", MirrorId{{std::byte{2}}}}}, {"near", {"users", MirrorId{{std::byte{3}}}}}};
  int confirmed = 0;
  test::cut_at_each_change(
      [&](const Files& files, const Path& folder) {
        confirmed = 0;
        if (!files.make_folder(folder)) return;
        if (!write_counted_mirrors(folder / "counted", one, files)) return;
        confirmed = 1;
        if (write_counted_mirrors(folder / "counted", two, files)) confirmed = 2;
      },
      [&](const Files& files, const Path& folder, bool cut) {
        EXPECT_EQ(cut, confirmed < 2);
        const auto counted = read_counted_mirrors(folder / "counted", files);
        ASSERT_TRUE(counted) << counted.error().message();
        const bool none = counted->empty();
        if (confirmed == 0) {
          EXPECT_TRUE(none || *counted == one);
        }
        if (confirmed == 1) {
          EXPECT_TRUE(*counted == one || *counted == two);
        }
        if (confirmed == 2) {
          EXPECT_EQ(*counted, two);
        }
      });
}

}  // namespace
}  // namespace crosslink::node
