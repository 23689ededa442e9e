#include "node/clients/client_transaction.hpp"

namespace crosslink::node {
namespace {

/// What a word of a transaction, a watched key, takes beside its bytes.
constexpr std::size_t kept_word_bytes = 64, kept_command_bytes = 96, watched_key_bytes = 256;

}  // namespace

void ClientTransaction::keep(const Command& command, const Words& words) {
  auto bytes = kept_command_bytes;
  for (const auto word : words)
    bytes += word.size() + kept_word_bytes;
  if (commands_.size() >= commands_max || kept_bytes_ + bytes > bytes_max) return spoil();
  kept_bytes_ += bytes;
  commands_.push_back({&command, {words.begin(), words.end()}});
}

void ClientTransaction::spoil() {
  if (begun_) spoiled_ = true;
}

void ClientTransaction::on_other_database() {
  spoil();
  if (!watch_) return;
  // The old one belongs to a table that goes.
  watch_ = std::make_shared<Watch>();
  watch_->touch();
}

bool ClientTransaction::watch(ClientDatabase& database, std::string_view key) {
  if (watched_keys_ == watched_keys_max) return false;
  if (!watch_) watch_ = std::make_shared<Watch>();
  if (!database.watches().watch(watch_, key)) return true;
  ++watched_keys_;
  watched_bytes_ += key.size() + watched_key_bytes;
  return true;
}

void ClientTransaction::fill(WriteRun& run) const {
  run.transaction = true;
  run.watch = watch_;
  for (const auto& [command, words] : commands_)
    run.commands.push_back({command, Words(words.begin(), words.end())});
}

void ClientTransaction::end(const ClientDatabasePointer& database) {
  if (watch_ && database) database->watches().unwatch(watch_);
  *this = ClientTransaction();
}

}  // namespace crosslink::node
