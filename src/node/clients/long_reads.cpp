#include "node/clients/long_reads.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "crosslink/rocksdb_engine.hpp"
#include "node/clients/client_database.hpp"
#include "node/clients/glob.hpp"
#include "node/hosting/hosted_database.hpp"

namespace crosslink::node {
namespace {

/// Of MGET and EXISTS that run among the reads of few keys.
constexpr std::size_t few_words_max = 256;
constexpr std::size_t scan_count_default = 10, scan_count_max = 100'000;
/// No more keys go into an answer that is larger: the rest comes with the next cursor.
constexpr std::size_t scan_bytes_soft_max = 1024 * 1024;

/// Goes through the keys of a view, in slices.
class KeyScan : public LongRead {
 public:
  explicit KeyScan(ClientDatabase& database) : database_(&database) {}
  bool go_on(async::SliceClock& clock, RespReply& reply) final {
    if (!begun_) {
      begun_ = true;
      begin_ = reply.bytes().size();
      if (!begin(reply)) return true;
      auto opened = database_->hosted().local()->view();
      if (!opened) return fail(reply, opened.error());
      view_ = *std::move(opened);
    }
    std::optional<std::size_t> last_bytes;
    bool slice_over = false, ended = false;
    const auto scanned = view_->scan(from_, std::nullopt, [&](const KeyValue& pair) {
      slice_over = last_bytes && clock.is_over(*last_bytes);
      ended = !slice_over && !take(pair.key, reply);
      if (slice_over) from_ = std::string(pair.key);
      last_bytes = pair.key.size() + pair.value.size();
      return !slice_over && !ended;
    });
    if (!scanned) return fail(reply, scanned.error());
    if (slice_over) return false;
    end(reply);
    return true;
  }

 protected:
  /// False: it cannot, and `reply` says why.
  virtual bool begin(RespReply& /*reply*/) { return true; }
  /// False: this key and those after it are not wanted.
  virtual bool take(std::string_view key, RespReply& reply) = 0;
  virtual void end(RespReply& reply) = 0;
  ClientDatabase& database() { return *database_; }
  const DataView& view() const { return *view_; }
  void begin_at(std::string key) { from_ = std::move(key); }
  std::size_t answer_begin() const { return begin_; }

 private:
  bool fail(RespReply& reply, const MirrorError& error) const {
    reply.cut(begin_);
    reply.error(error);
    return true;
  }
  ClientDatabase* const database_;
  bool begun_ = false;
  std::size_t begin_ = 0;  ///< of its answer
  std::shared_ptr<const DataView> view_;
  std::string from_;
};

class Keys final : public KeyScan {
 public:
  Keys(ClientDatabase& database, std::string_view pattern) : KeyScan(database), pattern_(pattern) {}

 private:
  bool take(std::string_view key, RespReply& reply) override {
    if (!matches_glob(pattern_, key)) return true;
    reply.bulk(key);
    ++count_;
    return reply.bytes().size() <= reply_bytes_max && !reply.overflowed();
  }
  void end(RespReply& reply) override { reply.array_at(answer_begin(), count_); }
  std::string_view pattern_;
  std::size_t count_ = 0;
};

class KeyCount final : public KeyScan {
 public:
  using KeyScan::KeyScan;

 private:
  bool begin(RespReply& reply) override {
    const auto known = database().known_count();
    if (known) reply.integer(static_cast<std::int64_t>(*known));
    return !known;
  }
  bool take(std::string_view, RespReply&) override {
    ++count_;
    return true;
  }
  void end(RespReply& reply) override {
    database().note_count(view().lsn(), count_);
    reply.integer(static_cast<std::int64_t>(count_));
  }
  std::uint64_t count_ = 0;
};

struct ScanOptions {
  std::optional<std::string_view> match;
  std::size_t count = scan_count_default;
  bool strings = true;  ///< TYPE asks for the only type there is
  std::string_view error;
};

ScanOptions scan_options(const Words& words) {
  ScanOptions options;
  for (std::size_t i = 2; i < words.size(); i += 2) {
    const bool has_value = i + 1 < words.size();
    if (has_value && equal_words(words[i], "MATCH")) {
      options.match = words[i + 1];
    } else if (has_value && equal_words(words[i], "TYPE")) {
      options.strings = equal_words(words[i + 1], "string");
    } else if (has_value && equal_words(words[i], "COUNT")) {
      const auto count = parse_integer(words[i + 1]);
      if (!count) {
        options.error = "ERR value is not an integer or out of range";
      } else if (*count < 1) {
        options.error = "ERR syntax error";
      } else {
        options.count = static_cast<std::size_t>(std::min<std::int64_t>(*count, scan_count_max));
      }
    } else {
      options.error = "ERR syntax error";
    }
    if (!options.error.empty()) break;
  }
  return options;
}

/// Each call sees the database as it is then: a key that stays from the first call to the last is answered once.
class Scan final : public KeyScan {
 public:
  Scan(ClientDatabase& database, const Words& words) : KeyScan(database), words_(&words) {}

 private:
  bool begin(RespReply& reply) override {
    std::uint64_t cursor = 0;
    const auto word = (*words_)[1];
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), cursor);
    options_ = scan_options(*words_);
    if (error != std::errc() || end != word.data() + word.size()) {
      reply.error("ERR invalid cursor");
    } else if (!options_.error.empty()) {
      reply.error(options_.error);
    } else if (cursor != 0) {
      auto place = database().cursors().find(cursor);
      if (place) {
        begin_at(*std::move(place));
        return true;
      }
      reply.error("ERR this cursor is no longer known: begin again with 0");
    } else {
      return true;
    }
    return false;
  }
  bool take(std::string_view key, RespReply& reply) override {
    if (seen_ == options_.count || reply.bytes().size() - answer_begin() > scan_bytes_soft_max) {
      next_ = std::string(key);
      return false;
    }
    ++seen_;
    if (!options_.strings || (options_.match && !matches_glob(*options_.match, key))) return true;
    reply.bulk(key);
    ++count_;
    return true;
  }
  void end(RespReply& reply) override {
    reply.array_at(answer_begin(), count_);
    RespReply head(reply.version());
    head.array(2);
    head.bulk(fmt::format("{}", next_ ? database().cursors().add(*std::move(next_)) : 0));
    reply.insert(answer_begin(), head.bytes());
  }
  const Words* const words_;
  ScanOptions options_;
  std::size_t seen_ = 0, count_ = 0;
  std::optional<std::string> next_;
};

/// MGET and EXISTS of many keys.
class ManyKeys final : public LongRead {
 public:
  ManyKeys(ClientDatabase& database, const Words& words, bool values)
      : database_(database.hosted().local()), words_(&words), values_(values) {}
  bool go_on(async::SliceClock& clock, RespReply& reply) override {
    if (at_ == 1) {
      begin_ = reply.bytes().size();
      if (values_) reply.array(words_->size() - 1);
    }
    while (at_ < words_->size()) {
      const auto value = database_->get((*words_)[at_++]);
      if (!value) {
        reply.cut(begin_);
        reply.error(value.error());
        return true;
      }
      if (values_) reply.bulk_or_null(*value);
      found_ += value->has_value() ? 1 : 0;
      if (reply.bytes().size() > reply_bytes_max || reply.overflowed()) return true;
      if (at_ < words_->size() && clock.is_over(value->value_or(std::string()).size())) return false;
    }
    if (!values_) reply.integer(found_);
    return true;
  }

 private:
  const RocksdbDatabase* const database_;
  const Words* const words_;
  const bool values_;
  std::size_t at_ = 1, begin_ = 0;
  std::int64_t found_ = 0;
};

}  // namespace

bool reads_many_keys(const PlacedCommand& placed) {
  if (const auto* of_database = std::get_if<DatabaseCommand>(&placed.command->run))
    return *of_database != DatabaseCommand::info;
  return std::holds_alternative<ReadCommand>(placed.command->run) && placed.words.size() > few_words_max;
}

std::unique_ptr<LongRead> begin_long_read(ClientDatabase& database, const PlacedCommand& placed) {
  const auto& words = placed.words;
  if (const auto* of_database = std::get_if<DatabaseCommand>(&placed.command->run)) {
    switch (*of_database) {
      case DatabaseCommand::dbsize: return std::make_unique<KeyCount>(database);
      case DatabaseCommand::keys: return std::make_unique<Keys>(database, words[1]);
      case DatabaseCommand::scan: return std::make_unique<Scan>(database, words);
      case DatabaseCommand::info: break;
    }
  }
  return std::make_unique<ManyKeys>(database, words, placed.command->name == "MGET");
}

}  // namespace crosslink::node
