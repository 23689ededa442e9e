// A source in memory and a mirror of it whose engine applies nothing until it is let: both can be verified.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <string>

#include "crosslink/database_source.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/mirror.hpp"
#include "regress.hpp"
#include "support/gated_mirror.hpp"

namespace crosslink::test {

struct GatedFollower {
  explicit GatedFollower(Regress& test, MirrorOptions options = {})
      : source(*written, written.get(), source_thread.get_executor(), offered()),
        running(test.context.get_executor(), test.listen(), test.policy(), {},
                [this](AcceptedMirror& accepted) { return source.serve(accepted); }),
        mirror(test.make_link(text_of(running.address())), gated, engine.get(), mirror_thread.get_executor(),
               named(std::move(options))) {}

  Lsn put(const std::string& key, const std::string& value = "1") {
    const std::array operations{Operation::put(key, value)};
    return need(written->commit(operations));
  }

 private:
  static DatabaseSourceOptions offered() {
    DatabaseSourceOptions chosen;
    chosen.name = "prod-us/orders";
    return chosen;
  }
  static MirrorOptions named(MirrorOptions options) {
    options.name = "eu-1/orders";
    return options;
  }

  boost::asio::thread_pool source_thread{1}, mirror_thread{1};
  const std::unique_ptr<MemoryDatabase> written = MemoryDatabase::create(), engine = MemoryDatabase::empty();
  DatabaseSource source;

 public:
  RunningSource running;
  GatedMirror gated{*engine};
  Mirror mirror;
};

}  // namespace crosslink::test
