// The day the first region is gone: the mirror becomes a database of its own.
//
//   (certificates as for 01)
//   06_promote_and_write certs
#include "offered_database.hpp"

using namespace crosslink;
using namespace example;

Task<void> show(OfferedDatabase& source, Mirror& mirror, MemoryDatabase& copy) {
  put(source.engine(), "balance", "100");
  co_await wait_until([&] { return mirror.status().kind == StatusKind::Following; });

  // 1. Promotion ends the link, applies what was received whole and opens for writes. It says where that was.
  auto promoted = co_await mirror.promote();
  if (!promoted) co_return promoted.error();
  std::cout << "promoted from " << promoted->from.cluster << "/" << promoted->from.database << " at LSN "
            << promoted->from.position.applied_lsn.value << "\n";

  // 2. Writes go here now, and what the old source still commits no longer arrives.
  put(copy, "balance", "90");
  put(source.engine(), "balance", "70");
  std::cout << "here the balance is " << copy.get("balance").value_or("missing") << "\n";

  // 3. It is final: asked again it says the same, and nothing makes it a mirror again by accident.
  auto again = co_await mirror.promote();
  std::cout << "again: " << (again && *again == *promoted ? "the same answer" : "another answer") << "\n";
  auto resync = mirror.resync();
  std::cout << "resync: " << (resync ? "done" : to_string(resync.error().kind())) << "\n";
  co_return Result<void>{};
}

int main(int argc, char** argv) { return run(argc, argv, show); }
