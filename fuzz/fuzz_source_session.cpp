// A source's session against a mirror that says anything, over a database in memory.
//
// Input: a script, see run().
#include <deque>
#include <map>

#include "script.hpp"
#include "session/source/source_session.hpp"
#include "session/verify_compare.hpp"

namespace crosslink::fuzz {
namespace {

namespace action = core::source_action;
using core::StreamToken;

class SourceRun {
 public:
  explicit SourceRun(std::span<const std::byte> input) : script_(input) {}

  void run() {
    for (int i = 0; i < 5; ++i)
      commit(*database_, script_);
    take();
    while (!script_.ended()) {
      step();
      take();
    }
  }

 private:
  static constexpr std::uint64_t cap_bytes = 2 * 1024 * 1024, frame_bytes_max = 64 * 1024 + 4096;

  void hear(StreamToken stream, const core::SessionMessage& message) {
    const auto frame = core::encode_message(message);
    session_.on_frame(stream, core::kind_of(message), std::span(frame).subspan(frame_header_bytes), now_);
  }

  Position position() {
    const auto state = database_->source_state();
    Position at{state.origin, state.history.newest().incarnation, {}, {script_.below(state.head.value + 2)}, {}};
    if (script_.below(8) == 0) at.incarnation.bytes[0] ^= std::byte{1};
    if (script_.below(8) == 0) at.origin.bytes[0] ^= std::byte{1};
    at.origin_lsn = at.applied_lsn;
    if (at.applied_lsn.value == 0) return at;
    const auto slice = database_->read_log(Lsn{at.applied_lsn.value - 1}, 1);
    if (!slice || slice->count == 0) return at;
    std::span<const std::byte> entries = *slice->entries;
    at.last_entry = read_entry(entries)->id();
    at.applied_lsn = at.origin_lsn = at.last_entry.lsn;
    return at;
  }

  void step() {
    const StreamToken some = 1 + script_.below(6);
    switch (script_.below(16)) {
      case 0: return hear(1, begin_frame(script_));
      case 1: return hear(1, core::Probe{script_.byte()});
      case 2: return hear(some, core::LogRequest{position(), {std::string(core::codec_zstd)}});
      case 3: return hear(some, core::SnapshotRequest{{std::string(kv_format)}, {}, 0});
      case 4: return hear(some, core::LogAck{{script_.byte()}, {script_.below(4)}, script_.byte() * 16ull});
      case 5: return hear(some, core::SnapshotAck{script_.byte() * 16ull});
      case 6: return hear(1, core::Limit{script_.byte() * 100ull, script_.chance()});
      case 7: return hear(some, core::VerifyBegin{{script_.below(8)}});
      case 8: return hear(some, core::VerifyAt{{script_.below(12)}});
      case 9: return hear(some, core::RangeDigest{});
      case 10: return raw(some);
      case 11: return session_.on_stream_end(some, now_);
      case 12: return written();
      case 13:
        commit(*database_, script_);
        if (script_.below(16) == 0) database_->purge_log();
        return session_.on_head(database_->source_state().head, now_);
      case 14: return answer();
      default: now_ += core::Duration(script_.byte() * 40'000ull); return session_.on_time(now_);
    }
  }

  void raw(StreamToken stream) {
    const auto kind = kinds[script_.below(std::size(kinds))];
    session_.on_frame(stream, kind, script_.bytes(script_.byte()), now_);
  }

  void written() {
    if (writing_.empty()) return;
    const auto stream = writing_.begin()->first;
    writing_.erase(writing_.begin());
    session_.on_written(stream, now_);
  }

  void answer() {
    if (asked_.empty()) return;
    const auto question = std::move(asked_.front());
    asked_.pop_front();
    const MirrorError bad(ErrorKind::Storage, CausedBy::us, "by the script");
    const bool good = script_.below(8) != 0;
    if (const auto* log = std::get_if<action::ReadLog>(&question)) {
      auto slice = database_->read_log(log->after, log->bytes_max);
      if (!slice || !good) return session_.on_log(log->question, slice ? bad : slice.error(), now_);
      core::LogPiece piece{*slice, slice->entries, std::string(core::codec_none), crc32c(*slice->entries)};
      session_.on_log(log->question, std::move(piece), now_);
    } else if (const auto* proof = std::get_if<action::Prove>(&question)) {
      session_.on_proof(proof->question, good ? database_->prove(proof->last_entry, proof->at) : bad, now_);
    } else if (const auto* open = std::get_if<action::OpenSnapshot>(&question)) {
      auto reader = database_->open_snapshot(open->formats, open->wanted);
      if (!reader || !good) {
        static_cast<void>(session_.on_snapshot(open->question, bad, now_));
      } else if (session_.on_snapshot(open->question, (*reader)->facts(), now_)) {
        reader_ = *reader;
      }
    } else if (const auto* read = std::get_if<action::ReadSnapshot>(&question)) {
      session_.on_snapshot_piece(read->question, reader_ && good ? reader_->read(read->offset, read->bytes_max) : bad,
                                 now_);
    } else if (const auto* view = std::get_if<action::OpenView>(&question)) {
      if (session_.on_view(view->question, good ? Result<Lsn>(database_->source_state().head) : bad, now_))
        view_ = *database_->view();
    } else if (const auto* digest = std::get_if<action::DigestRange>(&question)) {
      session_.on_digest(digest->question, good ? core::digest_range(*view_, digest->range) : bad, now_);
    } else if (const auto* keys = std::get_if<action::ListKeys>(&question)) {
      session_.on_keys(keys->question, good ? core::list_keys(*view_, keys->range) : bad, now_);
    }
  }

  void take() {
    auto actions = session_.take_actions();
    require(!over_ || actions.empty(), "nothing comes after the end of a session");
    for (auto& one : actions) {
      require(!over_, "the close is the last");
      if (const auto* send = std::get_if<action::Send>(&one)) {
        const auto sent = read_sent(send->head, send->data ? send->data_bytes : 0);
        if (!sent || !sent->bulk) continue;
        require(!writing_.contains(send->stream), "one bulk frame at a time on a stream");
        writing_[send->stream] = true;
      } else if (const auto* end = std::get_if<action::EndStream>(&one)) {
        writing_.erase(end->stream);
      } else if (std::holds_alternative<action::Close>(one)) {
        over_ = true;
      } else if (!std::holds_alternative<action::Wake>(one)) {
        asked_.push_back(std::move(one));
      }
    }
    require(over_ == session_.closed(), "a session says when it is over");
    require(session_.in_flight_bytes() <= cap_bytes + frame_bytes_max, "the cap holds");
  }

  static core::SourceSessionConfig config() {
    core::SourceSessionConfig chosen;
    chosen.bulk_bytes_max = 64 * 1024;
    chosen.in_flight_bytes_max = cap_bytes;
    chosen.chain = {"fuzz/db"};
    return chosen;
  }

  Script script_;
  std::unique_ptr<MemoryDatabase> database_ = MemoryDatabase::create();
  core::Instant now_{1'000'000};
  core::SourceSession session_{
      config(), [this] { return core::SourceNow{database_->source_state(), core::Duration(0)}; }, 1, now_};
  std::deque<core::SourceAction> asked_;
  std::map<StreamToken, bool> writing_;
  std::shared_ptr<SnapshotReader> reader_;
  std::shared_ptr<const DataView> view_;
  bool over_ = false;
};

}  // namespace
}  // namespace crosslink::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  crosslink::fuzz::SourceRun(std::as_bytes(std::span(data, size))).run();
  return 0;
}
