#include <boost/asio/thread_pool.hpp>

#include "crosslink/database_source.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/mirror.hpp"
#include "link_fixture.hpp"
#include "support/gated_mirror.hpp"

namespace crosslink::test {
namespace {

std::string key_of(int number) { return "key" + std::to_string(1'000'000 + number); }

/// One engine thread for all databases of a test.
class Sessions : public LinkTest {
 public:
  boost::asio::thread_pool engine_threads{1};

  /// A database offered at a port of its own.
  struct Offered {
    Offered(Sessions& test, SourceEngine& engine, VerifiableEngine* verifiable, DatabaseSourceOptions options)
        : database(engine, verifiable, test.engine_threads.get_executor(), std::move(options)),
          source(test.context.get_executor(), test.listen(), test.policy(), {},
                 [this](AcceptedMirror& mirror) { return database.serve(mirror); }) {}
    DatabaseSource database;
    RunningSource source;
  };
  std::unique_ptr<Offered> offer(MemoryDatabase& engine, std::string name = "prod-us/orders") {
    DatabaseSourceOptions options;
    options.name = std::move(name);
    return std::make_unique<Offered>(*this, engine, &engine, std::move(options));
  }

  std::unique_ptr<Mirror> mirror_of(const Offered& offered, MemoryDatabase& engine, MirrorOptions options = {}) {
    if (options.name.empty()) options.name = "eu-1/orders";
    return std::make_unique<Mirror>(make_link(text_of(offered.source.address())), engine, &engine,
                                    engine_threads.get_executor(), std::move(options));
  }

  static Lsn put(MemoryDatabase& engine, const std::string& key, const std::string& value) {
    const std::array operations{Operation::put(key, value)};
    return need(engine.commit(operations));
  }
  static awaitable<bool> reaches(Mirror& mirror, Lsn lsn) {
    return eventually([&mirror, lsn] {
      const auto position = mirror.facts().position;
      return position && position->applied_lsn >= lsn;
    });
  }
  static std::map<std::string, std::string> contents(MemoryDatabase& engine) {
    std::map<std::string, std::string> all;
    const auto view = need(engine.view());
    need(view->scan({}, std::nullopt, [&](const KeyValue& pair) {
      all.emplace(pair.key, pair.value);
      return true;
    }));
    return all;
  }
};

TEST_F(Sessions, a_mirror_bootstraps_follows_and_holds_what_the_source_holds) {
  run(context, [](Sessions& test) -> awaitable<void> {
    auto source = MemoryDatabase::create();
    auto engine = MemoryDatabase::empty();
    for (int i = 0; i < 2000; ++i)
      put(*source, key_of(i), std::string(1000, 'x'));
    auto offered = test.offer(*source);
    auto mirror = test.mirror_of(*offered, *engine);
    auto running = test.begin(mirror->run());
    EXPECT_TRUE(co_await reaches(*mirror, source->source_state().head));
    EXPECT_EQ(mirror->facts().bootstraps, 1u);
    for (int i = 0; i < 500; ++i)
      put(*source, key_of(i), "new " + std::to_string(i));
    const auto one = key_of(700);
    const auto begin = key_of(800);
    const auto end = key_of(900);
    const std::array<Operation, 2> both{Operation::erase(one), Operation::erase_range(begin, end)};
    const auto last = need(source->commit(both));
    EXPECT_TRUE(co_await reaches(*mirror, last));
    EXPECT_EQ(contents(*engine), contents(*source));
    EXPECT_EQ(engine->size(), 1899u);
    EXPECT_TRUE(co_await eventually([&] { return mirror->status().kind == StatusKind::Following; }));
    EXPECT_TRUE(mirror->lag().has_value());
    EXPECT_EQ(mirror->facts().bootstraps, 1u) << "the log went on, nothing was copied again";
    EXPECT_EQ(mirror->facts().chain, std::vector<std::string>{"prod-us/orders"});
    mirror->stop();
    need(co_await running.end());
    need(co_await offered->source.stop());
  }(*this));
}

TEST_F(Sessions, an_entry_larger_than_a_frame_and_than_the_cap_goes_through) {
  run(context, [](Sessions& test) -> awaitable<void> {
    auto source = MemoryDatabase::create();
    auto engine = MemoryDatabase::empty();
    put(*source, "first", "1");
    auto offered = test.offer(*source);
    MirrorOptions options;
    options.in_flight_bytes_max = 2 * 1024 * 1024;
    auto mirror = test.mirror_of(*offered, *engine, options);
    auto running = test.begin(mirror->run());
    EXPECT_TRUE(co_await reaches(*mirror, Lsn{1}));
    const std::string large(9 * 1024 * 1024, 'y');
    const auto lsn = put(*source, "large", large);
    EXPECT_TRUE(co_await reaches(*mirror, lsn));
    EXPECT_EQ(engine->get("large"), large);
    EXPECT_EQ(mirror->facts().bootstraps, 1u);
    mirror->stop();
    need(co_await running.end());
    need(co_await offered->source.stop());
  }(*this));
}

TEST_F(Sessions, a_mirror_that_was_away_goes_on_where_it_was_and_bootstraps_anew_only_past_the_window) {
  run(context, [](Sessions& test) -> awaitable<void> {
    auto source = MemoryDatabase::create();
    auto engine = MemoryDatabase::empty();
    put(*source, "a", "1");
    auto offered = test.offer(*source);
    for (int round = 0; round < 3; ++round) {
      const auto before = put(*source, key_of(round), "while it is away");
      if (round == 2) source->purge_log();
      auto mirror = test.mirror_of(*offered, *engine);
      auto running = test.begin(mirror->run());
      EXPECT_TRUE(co_await reaches(*mirror, before));
      EXPECT_EQ(mirror->facts().bootstraps, round == 1 ? 0u : 1u) << "round " << round;
      EXPECT_EQ(contents(*engine), contents(*source));
      mirror->stop();
      need(co_await running.end());
      EXPECT_TRUE(co_await eventually([&] { return offered->database.sessions() == 0; }));
    }
    need(co_await offered->source.stop());
  }(*this));
}

TEST_F(Sessions, verify_says_equal_and_finds_each_key_that_differs) {
  run(context, [](Sessions& test) -> awaitable<void> {
    auto source = MemoryDatabase::create();
    auto engine = MemoryDatabase::empty();
    for (int i = 0; i < 5000; ++i)
      put(*source, key_of(i), std::to_string(i));
    auto offered = test.offer(*source);
    auto mirror = test.mirror_of(*offered, *engine);
    auto running = test.begin(mirror->run());
    EXPECT_TRUE(co_await eventually([&] { return mirror->status().kind == StatusKind::Following; }));
    const auto equal = need(co_await mirror->verify());
    EXPECT_EQ(equal.outcome, VerifyResult::Outcome::equal) << equal.reason;
    EXPECT_EQ(equal.keys_compared, 5000u);
    mirror->stop();
    need(co_await running.end());
    // Behind the mirror's back: a value that no log brought.
    const auto position = *engine->mirror_state().position;
    std::vector<std::byte> entry;
    const auto changed = key_of(77);
    const auto removed = key_of(1234);
    const std::array<Operation, 3> forged{Operation::put(changed, "forged"), Operation::erase(removed),
                                          Operation::put("extra", "1")};
    encode_entry(entry, position.applied_lsn, 0, forged);
    need(engine->apply({{entry}, position}));
    auto again = test.mirror_of(*offered, *engine);
    auto running_again = test.begin(again->run());
    EXPECT_TRUE(co_await eventually([&] { return again->status().kind == StatusKind::Following; }));
    const auto different = need(co_await again->verify());
    EXPECT_EQ(different.outcome, VerifyResult::Outcome::different) << different.reason;
    EXPECT_EQ(different.difference_count, 3u);
    std::map<std::string, DifferenceKind> found;
    for (const auto& one : different.differences)
      found.emplace(one.key, one.kind);
    const std::map<std::string, DifferenceKind> expected{
        {key_of(77), DifferenceKind::value}, {key_of(1234), DifferenceKind::missing}, {"extra", DifferenceKind::extra}};
    EXPECT_EQ(found, expected);
    again->stop();
    need(co_await running_again.end());
    need(co_await offered->source.stop());
  }(*this));
}

TEST_F(Sessions, promotion_opens_for_writes_and_nothing_of_the_source_comes_after_it) {
  run(context, [](Sessions& test) -> awaitable<void> {
    auto source = MemoryDatabase::create();
    auto engine = MemoryDatabase::empty();
    const auto first = put(*source, "a", "1");
    auto offered = test.offer(*source);
    auto mirror = test.mirror_of(*offered, *engine);
    auto running = test.begin(mirror->run());
    EXPECT_TRUE(co_await reaches(*mirror, first));
    const std::array operations{Operation::put("b", "2")};
    EXPECT_EQ(kind_of(engine->commit(operations)), ErrorKind::Configuration) << "read-only until promoted";
    const auto promoted = need(co_await mirror->promote());
    EXPECT_EQ(promoted.from.cluster, "prod-us");
    EXPECT_EQ(promoted.from.position.applied_lsn, first);
    EXPECT_EQ(mirror->status().kind, StatusKind::Promoted);
    put(*source, "a", "from the old source");
    need(engine->commit(operations));
    EXPECT_EQ(need(co_await mirror->promote()), promoted) << "again: the first result";
    EXPECT_EQ(kind_of(mirror->resync()), ErrorKind::MirrorPromoted);
    EXPECT_TRUE(co_await eventually([&] { return offered->database.sessions() == 0; }));
    EXPECT_EQ(engine->get("a"), "1");
    mirror->stop();
    need(co_await running.end());
    need(co_await offered->source.stop());
  }(*this));
}

TEST_F(Sessions, a_mirror_of_a_mirror_follows_and_comes_back_after_the_middle_bootstrapped_anew) {
  run(context, [](Sessions& test) -> awaitable<void> {
    auto source = MemoryDatabase::create();
    auto middle_engine = MemoryDatabase::empty();
    auto far_engine = MemoryDatabase::empty();
    put(*source, "a", "1");
    auto offered = test.offer(*source);
    std::unique_ptr<Offered> middle_offered;
    MirrorOptions middle_options;
    middle_options.name = "prod-us/middle";
    middle_options.before_history_change = [&middle_offered] {
      if (middle_offered) middle_offered->database.end_sessions();
    };
    auto middle = test.mirror_of(*offered, *middle_engine, middle_options);
    auto middle_running = test.begin(middle->run());
    EXPECT_TRUE(co_await reaches(*middle, Lsn{1}));
    DatabaseSourceOptions options;
    options.name = "prod-us/middle";
    options.upstream_chain = [&middle] { return middle->facts().chain; };
    options.upstream_lag = [&middle] { return middle->lag(); };
    middle_offered = std::make_unique<Offered>(test, *middle_engine, middle_engine.get(), options);
    auto far = test.mirror_of(*middle_offered, *far_engine);
    auto far_running = test.begin(far->run());
    put(*source, "b", "2");
    EXPECT_TRUE(co_await eventually([&] { return contents(*far_engine) == contents(*source); }));
    EXPECT_EQ(far->facts().chain, (std::vector<std::string>{"prod-us/middle", "prod-us/orders"}));
    need(middle->resync());
    EXPECT_TRUE(co_await eventually([&] { return middle->facts().bootstraps == 2; }));
    put(*source, "c", "3");
    EXPECT_TRUE(co_await eventually([&] { return contents(*far_engine) == contents(*source); }));
    EXPECT_EQ(far->facts().bootstraps, 2u);
    EXPECT_TRUE(co_await eventually([&] { return far->status().kind == StatusKind::Following; }));
    far->stop();
    need(co_await far_running.end());
    middle->stop();
    need(co_await middle_running.end());
    need(co_await middle_offered->source.stop());
    need(co_await offered->source.stop());
  }(*this));
}

TEST_F(Sessions, a_loop_is_refused) {
  run(context, [](Sessions& test) -> awaitable<void> {
    auto source = MemoryDatabase::create();
    auto engine = MemoryDatabase::empty();
    put(*source, "a", "1");
    auto offered = test.offer(*source);
    MirrorOptions options;
    options.name = "prod-us/orders";
    auto mirror = test.mirror_of(*offered, *engine, options);
    auto running = test.begin(mirror->run());
    EXPECT_TRUE(co_await eventually([&] { return mirror->status().kind == StatusKind::Halted; }));
    EXPECT_NE(mirror->status().reason.find("prod-us/orders"), std::string::npos) << mirror->status().reason;
    EXPECT_FALSE(engine->mirror_state().position.has_value());
    mirror->stop();
    need(co_await running.end());
    need(co_await offered->source.stop());
  }(*this));
}

TEST_F(Sessions, a_paused_mirror_takes_nothing_in_and_a_resumed_one_catches_up) {
  run(context, [](Sessions& test) -> awaitable<void> {
    auto source = MemoryDatabase::create();
    auto engine = MemoryDatabase::empty();
    put(*source, "a", "1");
    auto offered = test.offer(*source);
    auto mirror = test.mirror_of(*offered, *engine);
    auto running = test.begin(mirror->run());
    EXPECT_TRUE(co_await eventually([&] { return mirror->status().kind == StatusKind::Following; }));
    need(mirror->pause());
    EXPECT_EQ(mirror->status().kind, StatusKind::Paused);
    // Another mirror, which is not paused, shows that the source has sent the log meanwhile.
    auto witness_engine = MemoryDatabase::empty();
    MirrorOptions witness_options;
    witness_options.name = "eu-1/witness";
    auto witness = test.mirror_of(*offered, *witness_engine, witness_options);
    auto witness_running = test.begin(witness->run());
    // What was on its way when the pause was asked for may still come; then nothing does.
    Lsn last;
    bool held_back = false;
    for (int i = 0; i < 100 && !held_back; ++i) {
      last = put(*source, key_of(i), "2");
      EXPECT_TRUE(co_await reaches(*witness, last));
      held_back = mirror->facts().position->applied_lsn < last;
    }
    EXPECT_TRUE(held_back);
    need(mirror->resume());
    EXPECT_TRUE(co_await reaches(*mirror, last));
    for (auto* one : {mirror.get(), witness.get()})
      one->stop();
    need(co_await running.end());
    need(co_await witness_running.end());
    need(co_await offered->source.stop());
  }(*this));
}

TEST_F(Sessions, what_waits_for_the_engine_is_charged_to_the_links_throttle_and_bounded_by_its_cap) {
  run(context, [](Sessions& test) -> awaitable<void> {
    constexpr std::uint64_t cap = 2 * 1024 * 1024, over = 3 * 1024 * 1024;
    auto source = MemoryDatabase::create();
    auto engine = MemoryDatabase::empty();
    put(*source, "a", "1");
    auto offered = test.offer(*source);
    GatedMirror gated(*engine);
    boost::asio::thread_pool gated_thread(1);
    MirrorOptions options;
    options.name = "eu-1/orders";
    options.in_flight_bytes_max = cap;
    Mirror mirror(test.make_link(text_of(offered->source.address())), gated, nullptr, gated_thread.get_executor(),
                  options);
    auto running = test.begin(mirror.run());
    EXPECT_TRUE(co_await eventually([&] { return mirror.facts().position.has_value(); }));
    Lsn last;
    for (int i = 0; i < 200; ++i)
      last = put(*source, key_of(i), std::string(100'000, 'x'));
    // It fills up to the cap and stays there, although ten times as much waits at the source.
    EXPECT_TRUE(co_await eventually([&] { return mirror.link().throttle.in_flight() >= cap; }));
    EXPECT_EQ(mirror.link().throttle.cap(), cap) << "another cap is shown than the one at which reading stops";
    EXPECT_GE(mirror.link().throttle.in_flight(), mirror.facts().held_bytes);
    EXPECT_LT(mirror.link().throttle.in_flight(), cap + over);
    gated.open();
    EXPECT_TRUE(co_await reaches(mirror, last));
    EXPECT_TRUE(co_await eventually([&] { return mirror.link().throttle.in_flight() == 0; }));
    EXPECT_EQ(contents(*engine), contents(*source));
    mirror.stop();
    need(co_await running.end());
    need(co_await offered->source.stop());
  }(*this));
}

TEST_F(Sessions, what_others_hold_of_the_links_throttle_keeps_the_mirror_from_reading_on) {
  run(context, [](Sessions& test) -> awaitable<void> {
    auto source = MemoryDatabase::create();
    auto engine = MemoryDatabase::empty();
    auto last = put(*source, "a", "1");
    auto offered = test.offer(*source);
    auto mirror = test.mirror_of(*offered, *engine);
    auto running = test.begin(mirror->run());
    EXPECT_TRUE(co_await reaches(*mirror, last));
    last = put(*source, "b", "2");
    EXPECT_TRUE(co_await reaches(*mirror, last));
    SendThrottle throttle = mirror->link().throttle;
    const auto ticket = throttle.charge(throttle.cap());
    // The frame that it waits for already is read, none after it.
    last = put(*source, "c", "3");
    EXPECT_TRUE(co_await reaches(*mirror, last));
    last = put(*source, "d", "4");
    EXPECT_TRUE(co_await eventually([&] { return mirror->facts().source_head == last; }));
    EXPECT_FALSE(engine->get("d"));
    throttle.ack(ticket);
    EXPECT_TRUE(co_await reaches(*mirror, last));
    EXPECT_TRUE(co_await eventually([&] { return throttle.in_flight() == 0; }));
    mirror->stop();
    need(co_await running.end());
    need(co_await offered->source.stop());
  }(*this));
}

TEST_F(Sessions, cancelling_run_ends_it_as_cancelled_and_leaves_the_engine_usable) {
  run(context, [](Sessions& test) -> awaitable<void> {
    auto source = MemoryDatabase::create();
    auto engine = MemoryDatabase::empty();
    const auto first = put(*source, "a", "1");
    auto offered = test.offer(*source);
    auto mirror = test.mirror_of(*offered, *engine);
    auto running = test.begin(mirror->run());
    EXPECT_TRUE(co_await reaches(*mirror, first));
    running.cancel();
    EXPECT_EQ(kind_of(co_await running.end()), ErrorKind::Cancelled);
    EXPECT_EQ(engine->get("a"), "1");
    need(co_await offered->source.stop());
  }(*this));
}

}  // namespace
}  // namespace crosslink::test
