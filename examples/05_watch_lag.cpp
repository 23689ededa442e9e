// How old is what the mirror shows? An upper bound that is true: on an idle source, while paused, when nothing comes.
//
//   (certificates as for 01)
//   05_watch_lag certs
#include "offered_database.hpp"

using namespace crosslink;
using namespace example;

using std::chrono::milliseconds;

Task<void> show(OfferedDatabase& source, Mirror& mirror, MemoryDatabase&) {
  // Unknown until it was measured: no number is better than a wrong one.
  std::cout << "before the first answer the lag is " << (mirror.lag() ? "known" : "unknown") << "\n";

  put(source.engine(), "a", "1");
  co_await wait_until([&] { return lag_below(mirror, milliseconds(1000)); });
  std::cout << to_string(mirror.status().kind) << ", the lag is under a second\n";

  // Paused, it grows with the clock as soon as there is something that the mirror has not got.
  if (auto paused = mirror.pause(); !paused) co_return paused;
  co_await wait_until([&] {
    put(source.engine(), "a", "2");
    return mirror.lag() && !lag_below(mirror, milliseconds(700));
  });
  std::cout << to_string(mirror.status().kind) << ", the lag grows\n";

  if (auto resumed = mirror.resume(); !resumed) co_return resumed;
  co_await wait_until([&] { return lag_below(mirror, milliseconds(500)); });
  std::cout << to_string(mirror.status().kind) << ", caught up again\n";
  co_return Result<void>{};
}

int main(int argc, char** argv) { return run(argc, argv, show); }
