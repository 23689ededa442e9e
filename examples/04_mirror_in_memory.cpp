// A database and its mirror: bootstrap, then every commit follows.
//
//   (certificates as for 01)
//   04_mirror_in_memory certs
#include "offered_database.hpp"

using namespace crosslink;
using namespace example;

Task<void> show(OfferedDatabase& source, Mirror& mirror, MemoryDatabase& copy) {
  // 1. What was there before comes as a snapshot.
  put(source.engine(), "order 1", "two apples");
  put(source.engine(), "order 2", "one pear");
  co_await wait_until([&] { return mirror.status().kind == StatusKind::Following && copy.size() == 2; });
  std::cout << "bootstrapped: order 2 is " << copy.get("order 2").value_or("missing") << "\n";

  // 2. What is committed from now on comes through the log, each commit as a whole.
  const std::array<Operation, 2> changes{Operation::put("order 3", "a melon"), Operation::erase("order 1")};
  auto lsn = source.engine().commit(changes);
  if (!lsn) co_return lsn.error();
  co_await wait_until([&] { return has_applied(mirror, *lsn); });
  std::cout << "followed: " << copy.size() << " orders, order 1 is " << copy.get("order 1").value_or("gone") << "\n";

  // 3. The copy takes no writes: it would no longer be one.
  const std::array mistaken{Operation::put("order 4", "here")};
  auto refused = copy.commit(mistaken);
  std::cout << "a write at the mirror: " << (refused ? "taken" : refused.error().message()) << "\n";

  // 4. Proof, not hope: both sides are compared at one LSN.
  auto verified = co_await mirror.verify();
  if (!verified) co_return verified.error();
  std::cout << "verify: " << to_string(verified->outcome) << ", " << verified->keys_compared << " keys\n";
  co_return Result<void>{};
}

int main(int argc, char** argv) { return run(argc, argv, show); }
