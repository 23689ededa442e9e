// The reconnect logic with a virtual clock: the test is the driver, so a Sleep takes no time and is written down
// instead.
#include "session/reconnect_machine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <ranges>
#include <vector>

namespace crosslink::test {
namespace {

using namespace std::chrono_literals;
using core::Action;
using core::Dial;
using core::LinkPhase;
using core::ReconnectMachine;
using core::Return;
using core::Sleep;
using std::chrono::milliseconds;

constexpr std::uint64_t seed = 20'240'607;

MirrorError error_of(ErrorKind kind) { return {kind, CausedBy::peer, "it failed"}; }
MirrorError line_cut() { return error_of(ErrorKind::Transport); }

/// Says true when `action` is a Sleep that jitter could have made of `backoff`.
testing::AssertionResult sleeps_about(const Action& action, milliseconds backoff) {
  const auto* sleep = std::get_if<Sleep>(&action);
  if (sleep == nullptr) return testing::AssertionFailure() << "no Sleep but action " << action.index();
  if (sleep->delay >= backoff * 3 / 4 && sleep->delay <= backoff * 5 / 4) return testing::AssertionSuccess();
  return testing::AssertionFailure() << sleep->delay.count() << " ms for a backoff of " << backoff.count() << " ms";
}

bool dials(const Action& action, std::size_t address) {
  const auto* dial = std::get_if<Dial>(&action);
  return dial != nullptr && dial->address_index == address;
}
bool returns(const Action& action) { return std::holds_alternative<Return>(action); }

/// A machine with one address that has just connected.
ReconnectMachine connected() {
  ReconnectMachine machine(1, seed);
  EXPECT_TRUE(dials(machine.start_connect().value(), 0));
  EXPECT_TRUE(returns(machine.dial_succeeded()));
  EXPECT_EQ(machine.phase(), LinkPhase::connected);
  return machine;
}

/// A machine in the middle of schedule_reconnect: dialling for the first time.
ReconnectMachine redialling() {
  ReconnectMachine machine(1, seed);
  EXPECT_TRUE(sleeps_about(machine.start_reconnect().value(), 500ms));
  EXPECT_TRUE(dials(machine.slept(), 0));
  return machine;
}

std::vector<milliseconds> doubling_to_the_cap(std::size_t count) {
  std::vector<milliseconds> backoffs;
  for (auto backoff = 500ms; backoffs.size() < count; backoff = std::min<milliseconds>(backoff * 2, 30s))
    backoffs.push_back(backoff);
  return backoffs;
}

TEST(ReconnectMachine, waits_500_ms_doubling_to_30_s_over_20_attempts) {
  ReconnectMachine machine(1, seed);
  auto action = machine.start_reconnect().value();
  std::vector<milliseconds> backoffs;
  for (int attempt = 0; attempt < 20; ++attempt) {
    backoffs.push_back(machine.backoff());
    EXPECT_TRUE(sleeps_about(action, machine.backoff()));
    EXPECT_EQ(machine.phase(), LinkPhase::waiting);
    EXPECT_TRUE(dials(machine.slept(), 0));
    action = machine.dial_failed(line_cut());
  }
  EXPECT_EQ(backoffs, doubling_to_the_cap(20));
  EXPECT_EQ(backoffs[0], 500ms);
  EXPECT_EQ(backoffs[5], 16s);
  EXPECT_EQ(backoffs[6], 30s);
  EXPECT_EQ(backoffs[19], 30s);
  EXPECT_EQ(machine.attempts(), 20U);
}

/// 1000 delays at the base, each of a reconnect that is cancelled while it waits.
std::vector<milliseconds> thousand_delays(std::uint64_t with_seed) {
  ReconnectMachine machine(1, with_seed);
  std::vector<milliseconds> delays;
  for (int i = 0; i < 1000; ++i) {
    delays.push_back(std::get<Sleep>(machine.start_reconnect().value()).delay);
    machine.operation_cancelled();
  }
  return delays;
}

TEST(ReconnectMachine, draws_each_delay_evenly_from_75_to_125_percent) {
  const auto delays = thousand_delays(seed);
  constexpr auto width = 25ms;
  std::vector<int> counts(10);
  for (const auto delay : delays) {
    ASSERT_GE(delay, 375ms);
    ASSERT_LE(delay, 625ms);
    ++counts[static_cast<std::size_t>(std::min<milliseconds::rep>((delay - 375ms) / width, 9))];
  }
  // 100 fall into each tenth if they are spread evenly, with a deviation of 9.5: 60 to 140 leaves four of them.
  for (const int count : counts) {
    EXPECT_GE(count, 60);
    EXPECT_LE(count, 140);
  }
}

TEST(ReconnectMachine, gives_mirrors_with_other_seeds_other_delays_and_the_same_seed_the_same) {
  EXPECT_EQ(thousand_delays(1), thousand_delays(1));
  const auto one = thousand_delays(1);
  const auto two = thousand_delays(2);
  const auto same = std::ranges::count_if(std::views::iota(0U, 1000U), [&](unsigned i) { return one[i] == two[i]; });
  EXPECT_LT(same, 30);  // of 251 values, 4 are expected
}

TEST(ReconnectMachine, jitters_at_the_cap_too) {
  ReconnectMachine machine(1, seed, 30s, 30s);
  std::vector<milliseconds> delays;
  for (int i = 0; i < 100; ++i) {
    const auto action = machine.start_reconnect().value();
    EXPECT_TRUE(sleeps_about(action, 30s));
    delays.push_back(std::get<Sleep>(action).delay);
    machine.operation_cancelled();
  }
  EXPECT_LT(std::ranges::min(delays), 24s);
  EXPECT_GT(std::ranges::max(delays), 36s);
}

TEST(ReconnectMachine, surfaces_every_hard_kind_from_inside_the_loop) {
  std::size_t kinds = 0;
  for (const auto& rule : error_rules()) {
    if (rule.in_reconnect != InReconnect::hard) continue;
    ++kinds;
    auto machine = redialling();
    EXPECT_TRUE(sleeps_about(machine.dial_failed(line_cut()), 1s));
    EXPECT_TRUE(dials(machine.slept(), 0));
    EXPECT_TRUE(returns(machine.dial_failed(error_of(rule.kind)))) << rule.name;
    EXPECT_EQ(machine.phase(), LinkPhase::disconnected) << rule.name;
    EXPECT_EQ(machine.last_error()->kind(), rule.kind);
    EXPECT_TRUE(machine.start_reconnect()) << rule.name;
  }
  EXPECT_EQ(kinds, 12U);
}

TEST(ReconnectMachine, goes_on_for_every_retry_kind) {
  std::size_t kinds = 0;
  for (const auto& rule : error_rules()) {
    if (rule.in_reconnect != InReconnect::retry) continue;
    ++kinds;
    auto machine = redialling();
    EXPECT_TRUE(sleeps_about(machine.dial_failed(error_of(rule.kind)), 1s)) << rule.name;
    EXPECT_EQ(machine.last_error()->kind(), rule.kind);
    EXPECT_TRUE(dials(machine.slept(), 0)) << rule.name;
    EXPECT_TRUE(returns(machine.dial_succeeded())) << rule.name;
  }
  EXPECT_EQ(kinds, 6U);
}

TEST(ReconnectMachine, returns_from_connect_at_the_first_failure_of_any_kind_without_backoff) {
  for (const auto& rule : error_rules()) {
    ReconnectMachine machine(1, seed);
    EXPECT_TRUE(dials(machine.start_connect().value(), 0));
    EXPECT_EQ(machine.phase(), LinkPhase::connecting);
    EXPECT_TRUE(returns(machine.dial_failed(error_of(rule.kind)))) << rule.name;
    EXPECT_EQ(machine.phase(), LinkPhase::disconnected);
    EXPECT_EQ(machine.backoff(), 500ms);
    EXPECT_EQ(machine.last_error()->kind(), rule.kind);
    EXPECT_TRUE(dials(machine.start_connect().value(), 0)) << rule.name;
  }
}

TEST(ReconnectMachine, makes_no_hot_loop_when_handshakes_succeed_and_sessions_fail_at_once) {
  auto machine = connected();
  std::vector<milliseconds> backoffs;
  for (int session = 0; session < 8; ++session) {
    machine.connection_lost();
    const auto action = machine.start_reconnect().value();
    EXPECT_TRUE(sleeps_about(action, machine.backoff()));
    backoffs.push_back(machine.backoff());
    EXPECT_TRUE(dials(machine.slept(), 0));
    EXPECT_TRUE(returns(machine.dial_succeeded()));
  }
  EXPECT_EQ(backoffs, (std::vector<milliseconds>{1s, 2s, 4s, 8s, 16s, 30s, 30s, 30s}));
}

TEST(ReconnectMachine, doubles_for_a_session_without_progress_even_if_it_was_not_noticed_lost) {
  auto machine = connected();
  EXPECT_TRUE(sleeps_about(machine.start_reconnect().value(), 1s));
  EXPECT_EQ(machine.phase(), LinkPhase::waiting);
}

TEST(ReconnectMachine, doubles_once_for_a_session_however_often_the_reconnect_is_cancelled) {
  auto machine = connected();
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(sleeps_about(machine.start_reconnect().value(), 1s));
    machine.operation_cancelled();
  }
}

TEST(ReconnectMachine, goes_back_to_500_ms_after_progress_and_only_then) {
  auto machine = connected();
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(machine.start_reconnect());
    machine.slept();
    machine.dial_succeeded();
  }
  EXPECT_EQ(machine.backoff(), 8s);
  machine.note_progress();
  EXPECT_EQ(machine.backoff(), 500ms);
  machine.connection_lost();
  EXPECT_TRUE(sleeps_about(machine.start_reconnect().value(), 500ms));
  EXPECT_TRUE(dials(machine.slept(), 0));
  EXPECT_TRUE(sleeps_about(machine.dial_failed(line_cut()), 1s));
}

TEST(ReconnectMachine, takes_progress_only_while_connected) {
  auto machine = connected();
  machine.connection_lost();
  machine.note_progress();
  EXPECT_TRUE(sleeps_about(machine.start_reconnect().value(), 1s));
  machine.note_progress();
  EXPECT_EQ(machine.backoff(), 1s);
  machine.slept();
  machine.note_progress();
  EXPECT_TRUE(sleeps_about(machine.dial_failed(line_cut()), 2s));
}

TEST(ReconnectMachine, keeps_the_backoff_of_failed_attempts_until_there_is_progress) {
  auto machine = redialling();
  EXPECT_TRUE(sleeps_about(machine.dial_failed(line_cut()), 1s));
  machine.slept();
  EXPECT_TRUE(sleeps_about(machine.dial_failed(line_cut()), 2s));
  machine.slept();
  EXPECT_TRUE(returns(machine.dial_succeeded()));
  EXPECT_TRUE(sleeps_about(machine.start_reconnect().value(), 4s));
}

void expect_error(const Result<Action>& result, ErrorKind kind) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), kind);
  EXPECT_EQ(result.error().caused_by(), CausedBy::us);
}

TEST(ReconnectMachine, says_busy_to_a_second_operation_while_one_runs_and_leaves_the_first_alone) {
  ReconnectMachine dialling(1, seed);
  ASSERT_TRUE(dialling.start_connect());
  expect_error(dialling.start_connect(), ErrorKind::Busy);
  expect_error(dialling.start_reconnect(), ErrorKind::Busy);
  EXPECT_TRUE(returns(dialling.dial_succeeded()));

  ReconnectMachine waiting(1, seed);
  ASSERT_TRUE(waiting.start_reconnect());
  expect_error(waiting.start_connect(), ErrorKind::Busy);
  expect_error(waiting.start_reconnect(), ErrorKind::Busy);
  EXPECT_EQ(waiting.backoff(), 500ms);
  EXPECT_TRUE(dials(waiting.slept(), 0));
  expect_error(waiting.start_connect(), ErrorKind::Busy);
  expect_error(waiting.start_reconnect(), ErrorKind::Busy);
  EXPECT_TRUE(returns(waiting.dial_succeeded()));
}

TEST(ReconnectMachine, refuses_connect_while_connected_and_stays_connected) {
  auto machine = connected();
  expect_error(machine.start_connect(), ErrorKind::AlreadyConnected);
  EXPECT_EQ(machine.phase(), LinkPhase::connected);
  machine.connection_lost();
  EXPECT_EQ(machine.phase(), LinkPhase::disconnected);
  EXPECT_TRUE(dials(machine.start_connect().value(), 0));
}

TEST(ReconnectMachine, takes_the_next_address_at_each_attempt_of_connect_and_reconnect_alike) {
  ReconnectMachine machine(3, seed);
  EXPECT_TRUE(dials(machine.start_connect().value(), 0));
  machine.dial_failed(line_cut());
  EXPECT_TRUE(dials(machine.start_connect().value(), 1));
  machine.dial_failed(line_cut());
  ASSERT_TRUE(machine.start_reconnect());
  for (const std::size_t address : {2U, 0U, 1U, 2U, 0U}) {
    EXPECT_TRUE(dials(machine.slept(), address)) << address;
    machine.dial_failed(line_cut());
  }
  EXPECT_TRUE(dials(machine.slept(), 1));
  EXPECT_TRUE(returns(machine.dial_succeeded()));
  machine.start_reconnect().value();
  EXPECT_TRUE(dials(machine.slept(), 2));
}

TEST(ReconnectMachine, says_how_often_an_address_was_dialled_before) {
  ReconnectMachine machine(2, seed);
  std::vector<std::pair<std::size_t, std::uint64_t>> dialled;
  const auto note = [&dialled](const Action& action) {
    const auto& dial = std::get<core::Dial>(action);
    dialled.emplace_back(dial.address_index, dial.turn);
  };
  note(machine.start_connect().value());
  machine.dial_failed(line_cut());
  ASSERT_TRUE(machine.start_reconnect());
  for (int i = 0; i < 3; ++i) {
    note(machine.slept());
    machine.dial_failed(line_cut());
  }
  note(machine.slept());
  machine.dial_succeeded();
  machine.start_reconnect().value();
  note(machine.slept());
  const std::vector<std::pair<std::size_t, std::uint64_t>> expected{{0, 0}, {1, 0}, {0, 1}, {1, 1}, {0, 2}, {1, 2}};
  EXPECT_EQ(dialled, expected) << "a handshake in between changes nothing";
}

TEST(ReconnectMachine, counts_dials_since_the_last_handshake_and_handshakes_after_the_first) {
  auto machine = connected();
  EXPECT_EQ(machine.attempts(), 0U);
  EXPECT_EQ(machine.reconnects(), 0U);
  ASSERT_TRUE(machine.start_reconnect());
  for (std::uint64_t attempt = 1; attempt <= 3; ++attempt) {
    machine.slept();
    EXPECT_EQ(machine.attempts(), attempt);
    machine.dial_failed(line_cut());
  }
  machine.slept();
  machine.dial_succeeded();
  EXPECT_EQ(machine.attempts(), 0U);
  EXPECT_EQ(machine.reconnects(), 1U);
}

void expect_closed_for_good(ReconnectMachine& machine) {
  EXPECT_EQ(machine.phase(), LinkPhase::closed);
  expect_error(machine.start_connect(), ErrorKind::Cancelled);
  expect_error(machine.start_reconnect(), ErrorKind::Cancelled);
  machine.operation_cancelled();
  machine.connection_lost();
  machine.note_progress();
  machine.close();
  EXPECT_EQ(machine.phase(), LinkPhase::closed);
  expect_error(machine.start_reconnect(), ErrorKind::Cancelled);
}

TEST(ReconnectMachine, closes_for_good_while_disconnected_or_connected) {
  ReconnectMachine fresh(1, seed);
  fresh.close();
  expect_closed_for_good(fresh);
  auto machine = connected();
  machine.close();
  expect_closed_for_good(machine);
}

TEST(ReconnectMachine, answers_return_to_a_sleep_that_ends_after_close) {
  ReconnectMachine machine(1, seed);
  ASSERT_TRUE(machine.start_reconnect());
  machine.close();
  EXPECT_TRUE(returns(machine.slept()));
  expect_closed_for_good(machine);
}

TEST(ReconnectMachine, answers_return_to_a_dial_that_fails_or_succeeds_after_close) {
  for (const bool reconnecting : {false, true}) {
    for (const bool succeeds : {false, true}) {
      ReconnectMachine machine(1, seed);
      if (reconnecting) {
        ASSERT_TRUE(machine.start_reconnect());
        machine.slept();
      } else {
        ASSERT_TRUE(machine.start_connect());
      }
      machine.close();
      EXPECT_TRUE(returns(succeeds ? machine.dial_succeeded() : machine.dial_failed(line_cut())));
      EXPECT_EQ(machine.reconnects(), 0U);
      expect_closed_for_good(machine);
    }
  }
}

TEST(ReconnectMachine, is_idle_and_disconnected_after_a_cancellation_in_any_phase) {
  ReconnectMachine dialling(1, seed);
  ASSERT_TRUE(dialling.start_connect());
  dialling.operation_cancelled();
  EXPECT_EQ(dialling.phase(), LinkPhase::disconnected);
  EXPECT_TRUE(dialling.start_connect());

  ReconnectMachine waiting(1, seed);
  ASSERT_TRUE(waiting.start_reconnect());
  waiting.operation_cancelled();
  EXPECT_EQ(waiting.phase(), LinkPhase::disconnected);
  EXPECT_EQ(waiting.backoff(), 500ms);
  EXPECT_TRUE(waiting.start_connect());

  auto redial = redialling();
  redial.operation_cancelled();
  EXPECT_EQ(redial.phase(), LinkPhase::disconnected);
  EXPECT_TRUE(redial.start_reconnect());
}

TEST(ReconnectMachine, ignores_a_lost_connection_unless_connected) {
  ReconnectMachine machine(1, seed);
  ASSERT_TRUE(machine.start_reconnect());
  machine.connection_lost();
  EXPECT_EQ(machine.phase(), LinkPhase::waiting);
  machine.slept();
  machine.connection_lost();
  EXPECT_EQ(machine.phase(), LinkPhase::connecting);
}

TEST(ReconnectMachineDeathTest, aborts_on_events_that_cannot_happen) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(ReconnectMachine(0, seed), "");
  ReconnectMachine idle(1, seed);
  EXPECT_DEATH(idle.slept(), "");
  EXPECT_DEATH(idle.dial_succeeded(), "");
  EXPECT_DEATH(idle.dial_failed(line_cut()), "");
}

}  // namespace
}  // namespace crosslink::test
