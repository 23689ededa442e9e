// A program that holds a mirror on disk and reads from it, also while it bootstraps anew: the old data answers until
// the new data is whole, then, in one step, the new.
//
//   (certificates as for 01)
//   08_read_while_bootstrapping certs
#include "crosslink/rocksdb_engine.hpp"
#include "offered_database.hpp"

using namespace crosslink;
using namespace example;

constexpr int orders = 2000;

void put_all(MemoryDatabase& database, const std::string& value) {
  for (int i = 0; i < orders; ++i)
    put(database, "order " + std::to_string(i), value + std::string(2000, ' '));
}

// What all orders say: one word, or "torn" if they do not say the same.
std::string read_all(RocksdbDatabase& copy) {
  auto view = copy.view();  // of one moment
  if (!view) return view.error().message();
  std::string all;
  auto scanned = (*view)->scan("", std::nullopt, [&](const KeyValue& order) {
    auto word = order.value.substr(0, order.value.find(' '));
    all = all.empty() || all == word ? word : "torn";
    return all != "torn";
  });
  return scanned ? all : scanned.error().message();
}

Task<void> show(OfferedDatabase& source, Mirror& mirror, RocksdbDatabase& copy) {
  put_all(source.engine(), "old");
  co_await wait_until([&] { return mirror.status().kind == StatusKind::Following && read_all(copy) == "old"; });
  std::cout << "following: every order is " << read_all(copy) << "\n";

  // The source is changed while the mirror is paused, and everything is to be copied anew, as after so long an absence
  // that the source no longer has the log.
  auto paused = mirror.pause();
  if (!paused) co_return paused.error();
  put_all(source.engine(), "new");
  auto again = mirror.resync();
  if (!again) co_return again.error();
  auto slowed = mirror.set_bandwidth(8 * 1024 * 1024);  // so that there is something to see
  if (!slowed) co_return slowed.error();
  auto resumed = mirror.resume();
  if (!resumed) co_return resumed.error();

  int reads = 0, wrong = 0;
  co_await wait_until([&] {
    auto status = mirror.status().kind;
    auto seen = read_all(copy);
    if (status == StatusKind::Bootstrapping) ++reads;
    if (seen != "old" && seen != "new") ++wrong;
    return seen == "new" && status == StatusKind::Following;
  });
  std::cout << "bootstrapped anew: " << (mirror.facts().bootstraps == 2 ? "yes" : "no") << "\n"
            << "reads meanwhile: "
            << (wrong > 0    ? "torn"
                : reads == 0 ? "none"
                             : "all answered, each wholly old or wholly new")
            << "\nfollowing: every order is " << read_all(copy) << "\n";
  co_return Result<void>{};
}

int main(int argc, char** argv) {
  TemporaryFolder folder;
  RocksdbOptions options;
  options.folder = folder.path() + "/copy";
  auto copy = RocksdbDatabase::open_mirror(options);
  if (!copy) return std::cerr << copy.error().message() << "\n", 1;
  return run(argc, argv, **copy, show);
}
