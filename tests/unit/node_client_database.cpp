// What clients have of a database besides its data: how long it is known, who is refused, and that it goes with it.
#include "node/clients/client_database.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "crosslink/quic/endpoint.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "node/clients/chosen_database.hpp"
#include "node/clients/client_transaction.hpp"
#include "node/engine_threads.hpp"
#include "node/hosting/database_engine.hpp"
#include "node/hosting/hosted_database.hpp"
#include "support/faulty_disk.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::node {
namespace {

class OfClients : public ::testing::Test {
 public:
  OfClients() { database = open(client_databases(committers.executor())); }
  DatabasePointer open(ClientsMaker make_clients) {
    CatalogEntry entry;
    entry.name = "orders";
    DatabaseConfig config;
    config.name = entry.name;
    RocksdbOptions options;
    options.folder = folder.path() / "db";
    options.sync = RocksdbSync::every_second;
    options.env = disk->env();
    const bool there = std::filesystem::exists(options.folder / "live");
    std::shared_ptr<RocksdbDatabase> engine =
        (there ? RocksdbDatabase::open(std::move(options)) : RocksdbDatabase::open_root(std::move(options))).value();
    auto* const own = engine.get();
    const HostingContext context{
        "us",   folder.path(),          {}, quic::Endpoint::open().value(), threads.executors(), {}, {},
        "us-1", std::move(make_clients)};
    return std::make_shared<HostedDatabase>(context, config, entry,
                                            DatabaseEngine{std::move(engine), own, own, own, own, "here"});
  }
  /// What it answers.
  std::string say(const std::vector<std::string>& words) {
    WriteRun run{RespReply(RespVersion::resp2)};
    run.commands.push_back({find_command(words.front()), Words(words.begin(), words.end())});
    std::promise<void> done;
    client_database(database)->commits().push(run, [&done] { done.set_value(); });
    done.get_future().get();
    return run.reply.bytes();
  }
  ThreadPool committers{"commits", 2};
  test::TemporaryFolder folder;
  const std::shared_ptr<test::FaultyDisk> disk = test::FaultyDisk::below(folder.path());
  EngineThreads threads;
  DatabasePointer database;
};

TEST_F(OfClients, a_count_of_keys_is_known_until_the_next_commit) {
  const auto clients = client_database(database);
  EXPECT_EQ(say({"SET", "a", "1"}), "+OK\r\n");
  EXPECT_EQ(clients->known_count(), std::nullopt);
  clients->note_count(database->head(), 1);
  EXPECT_EQ(clients->known_count(), 1U);
  EXPECT_EQ(say({"SET", "b", "1"}), "+OK\r\n");
  EXPECT_EQ(clients->known_count(), std::nullopt);
}

TEST_F(OfClients, another_history_touches_every_watch) {
  const auto watch = std::make_shared<Watch>();
  client_database(database)->watches().watch(watch, "k");
  EXPECT_EQ(say({"SET", "other", "1"}), "+OK\r\n");
  EXPECT_FALSE(watch->touched());
  disk->fail_next_sync_of_log(true);
  EXPECT_EQ(say({"SET", "lost", "1"}), "+OK\r\n");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!watch->touched() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  EXPECT_TRUE(watch->touched()) << "what was read may be another now";
}

TEST_F(OfClients, a_fence_at_the_database_refuses_what_clients_write_as_often_as_it_is_raised) {
  database->fence();
  database->fence();
  database->lift_fence();
  EXPECT_TRUE(say({"SET", "k", "1"}).starts_with("-READONLY "));
  database->lift_fence();
  EXPECT_EQ(say({"SET", "k", "1"}), "+OK\r\n");
}

TEST_F(OfClients, a_client_keeps_the_database_open_and_what_remembers_it_does_not) {
  auto held = client_database(database);
  EXPECT_EQ(&held->hosted(), database.get());
  const std::weak_ptr remembered = held;
  database.reset();
  EXPECT_EQ(remembered.lock(), held);
  held.reset();
  EXPECT_EQ(remembered.lock(), nullptr);
  database = open(client_databases(committers.executor()));
  EXPECT_EQ(client_database(database)->known_count(), std::nullopt) << "its folder was free again";
}

TEST_F(OfClients, a_database_that_was_opened_without_clients_has_none_and_can_be_fenced) {
  database.reset();
  database = open({});
  EXPECT_EQ(client_database(database), nullptr);
  EXPECT_EQ(client_database(nullptr), nullptr);
  database->fence();
  database->lift_fence();
  EXPECT_TRUE(database->local()->restamp().ok());
}

TEST_F(OfClients, writes_that_were_taken_on_are_carried_out_before_the_database_is_closed) {
  const std::vector<std::string> words{"INCR", "n"};
  std::vector<std::unique_ptr<WriteRun>> runs;
  auto& commits = client_database(database)->commits();
  for (int i = 0; i < 1000; ++i) {
    runs.push_back(std::make_unique<WriteRun>(RespReply(RespVersion::resp2)));
    runs.back()->commands.push_back({find_command(words.front()), Words(words.begin(), words.end())});
    commits.push(*runs.back(), [] {});
  }
  database.reset();
  EXPECT_EQ(runs.back()->reply.bytes(), ":1000\r\n");
  database = open(client_databases(committers.executor()));
  EXPECT_EQ(database->local()->get("n").value(), "1000");
}

TEST_F(OfClients, a_connection_finds_the_database_that_took_the_place_of_the_one_it_chose) {
  DatabaseList list;
  list.add(database);
  ChosenDatabase chosen(list);
  EXPECT_TRUE(chosen.hold());
  chosen.let_go();
  list.take("orders")->retire();
  EXPECT_FALSE(chosen.hold()) << "one that is on its way out is not held";
  EXPECT_EQ(chosen.held(), nullptr);
  EXPECT_EQ(chosen.why_none(), "ERR there is no database 0 here now: SELECT another by its index or name");
  database.reset();
  EXPECT_EQ(chosen.last(), nullptr) << "nothing keeps it open";
  database = open(client_databases(committers.executor()));
  list.add(database);
  EXPECT_FALSE(chosen.hold()) << "it is another one";
  EXPECT_EQ(&chosen.held()->hosted(), database.get());
  EXPECT_TRUE(chosen.hold());
  EXPECT_EQ(chosen.choose("7"), "ERR DB index is out of range");
  EXPECT_EQ(&chosen.held()->hosted(), database.get()) << "what was chosen before stays";
  EXPECT_EQ(chosen.choose("orders"), std::nullopt);
}

TEST_F(OfClients, a_transaction_does_nothing_once_another_database_is_at_its_place_or_it_is_too_much) {
  const std::vector<std::string> texts{"SET", "k", "1"};
  const Words words(texts.begin(), texts.end());
  const auto* const set = find_command("SET");
  ClientTransaction transaction;
  ASSERT_TRUE(transaction.watch(*client_database(database), "k"));
  transaction.on_other_database();
  EXPECT_FALSE(transaction.spoiled()) << "MULTI was not said yet";
  transaction.begin();
  transaction.keep(*set, words);
  WriteRun run{RespReply(RespVersion::resp2)};
  transaction.fill(run);
  EXPECT_TRUE(run.transaction && run.watch->touched()) << "what was watched is not the same any more";
  EXPECT_EQ(run.commands.size(), 1U);
  transaction.on_other_database();
  EXPECT_TRUE(transaction.spoiled());
  transaction.end(client_database(database));
  EXPECT_EQ(transaction.held_bytes(), 0U);
  transaction.begin();
  for (std::size_t i = 0; i < ClientTransaction::commands_max; ++i)
    transaction.keep(*set, words);
  EXPECT_FALSE(transaction.spoiled());
  transaction.keep(*set, words);
  EXPECT_TRUE(transaction.spoiled());
}

TEST(ScanCursors, forget_the_one_that_was_used_longest_ago) {
  ScanCursors cursors;
  const auto first = cursors.add("first"), second = cursors.add("second");
  EXPECT_NE(first, 0U);
  for (std::size_t i = 2; i < ScanCursors::cursors_max; ++i)
    cursors.add("k");
  EXPECT_EQ(cursors.find(first), "first");
  cursors.add("one more");
  EXPECT_EQ(cursors.find(first), "first");
  EXPECT_EQ(cursors.find(second), std::nullopt);
}

}  // namespace
}  // namespace crosslink::node
