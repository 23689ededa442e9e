// A mirror against a source that says anything, over a database in memory.
//
// Input: a script, see step().
#include <deque>
#include <optional>

#include "script.hpp"
#include "session/mirror/mirror_machine.hpp"

namespace crosslink::fuzz {
namespace {

namespace action = core::mirror_action;
using core::StreamToken;

class MirrorRun {
 public:
  explicit MirrorRun(std::span<const std::byte> input) : script_(input) {}

  void run() {
    for (int i = 0; i < 5; ++i)
      commit(*source_, script_);
    machine_.on_time(now_);
    take();
    while (!script_.ended()) {
      step();
      take();
    }
  }

 private:
  static constexpr std::uint64_t cap_bytes = 2 * 1024 * 1024, over_cap_bytes_max = 3 * 1024 * 1024;

  void hear(StreamToken stream, std::uint8_t kind, std::vector<std::byte> payload) {
    if (!connected_) return;
    const auto kept = std::make_shared<const std::vector<std::byte>>(std::move(payload));
    machine_.on_frame(stream, kind, kept, *kept, now_);
  }
  void hear(StreamToken stream, const core::SessionMessage& message, std::span<const std::byte> data = {}) {
    auto frame = core::is_bulk_kind(core::kind_of(message)) ? core::encode_bulk_head(message, data.size())
                                                            : core::encode_message(message);
    frame.insert(frame.end(), data.begin(), data.end());
    hear(stream, core::kind_of(message), {frame.begin() + frame_header_bytes, frame.end()});
  }

  void say_begin() {
    auto begin = begin_frame(script_);
    const auto state = source_->source_state();
    if (script_.below(16) != 0) begin.source = core::SessionBegin::Source{{"fuzz/db"}, state.origin, state.history, {}};
    hear(1, begin);
  }

  void say_batch() {
    const Lsn after{script_.chance() ? sent_lsn_.value : script_.below(12)};
    const auto slice = source_->read_log(after, 200);
    if (!slice) return;
    core::LogBatch batch{slice->prev_lsn,
                         slice->last_lsn,
                         slice->count,
                         slice->entries->size(),
                         std::string(core::codec_none),
                         crc32c(*slice->entries),
                         {}};
    if (script_.below(8) == 0) ++batch.last_lsn.value;
    sent_lsn_ = batch.last_lsn;
    hear(last_stream_, batch, *slice->entries);
  }

  void say_chunk() {
    const auto reader = source_->open_snapshot(std::array{std::string(kv_format)}, {});
    if (!reader) return;
    if (script_.chance()) {
      snapshot_offset_ = 0;
      return hear(last_stream_, core::SnapshotBegin{(*reader)->facts(), 0});
    }
    const auto piece = (*reader)->read(snapshot_offset_, 64);
    if (!piece) return;
    core::SnapshotChunk chunk{snapshot_offset_, crc32c(*piece->bytes), piece->done, 0, {}};
    if (piece->done) {
      const auto all = (*reader)->read(0, 1'000'000);
      chunk.total_crc32c = crc32c(*all->bytes) + (script_.below(8) == 0 ? 1 : 0);
      chunk.consistent_lsn = (*reader)->facts().consistent_lsn;
    }
    snapshot_offset_ += piece->bytes->size();
    hear(last_stream_, chunk, *piece->bytes);
  }

  void say_fragment() {
    const auto data = script_.bytes(script_.byte());
    hear(last_stream_,
         core::EntryFragment{
             sent_lsn_, {sent_lsn_.value + 1}, script_.below(3) * 100, 300, crc32c(data), script_.chance(), {}},
         data);
  }

  void step() {
    const StreamToken some = 1 + script_.below(6);
    switch (script_.below(20)) {
      case 0: return say_begin();
      case 1: return hear(1, core::ProbeReply{probe_, source_->source_state().head, script_.byte()});
      case 2: return hear(last_stream_, core::LogBegin{{9}, {0}, {sent_lsn_ = Lsn{script_.below(8)}}});
      case 3: return say_batch();
      case 4: return say_chunk();
      case 5: return say_fragment();
      case 6: return hear(1, core::Notice{});
      case 7: return hear(some, core::VerifyAt{{script_.below(12)}});
      case 8: return hear(some, core::RangeDigest{{}, core::RangeDigest::Answer{script_.byte(), {}, {}}});
      case 9: return hear(some, core::SessionFailure{"LogWindowExceeded", "why", {}, {}, {}, {}, {}, {}, {}});
      case 10: return hear(some, kinds[script_.below(std::size(kinds))], script_.bytes(script_.byte()));
      case 11:
        if (connected_) machine_.on_stream_end(some, std::nullopt, now_);
        return;
      case 12:
      case 13: return answer();
      case 14: return link();
      case 15: return operate();
      case 16: return commit(*source_, script_);
      case 17: return ask_view();
      default: now_ += core::Duration(script_.byte() * 40'000ull); return machine_.on_time(now_);
    }
  }

  void link() {
    const auto error = MirrorError::transport(TransportCause::unreachable, "by the script");
    if (dialing_) {
      dialing_ = false;
      connected_ = script_.below(4) != 0;
      return connected_ ? machine_.on_connected(now_) : machine_.on_dial_failed(error, now_);
    }
    if (!connected_) return;
    connected_ = false;
    machine_.on_disconnected(error, now_);
  }

  void operate() {
    Result<void> said;
    switch (script_.below(6)) {
      case 0: said = machine_.pause(now_); break;
      case 1: said = machine_.resume(now_); break;
      case 2: said = machine_.resync(now_); break;
      case 3: said = machine_.set_bandwidth(script_.byte(), now_); break;
      case 4: said = machine_.start_verify(now_); break;
      default: said = script_.below(8) == 0 ? machine_.promote(now_) : machine_.resume(now_); break;
    }
    static_cast<void>(said.ok());
  }

  void answer() {
    if (!call_) return;
    const auto request = *std::exchange(call_, std::nullopt);
    core::EngineAnswer given;
    Result<void> done;
    if (script_.below(8) == 0) {
      done = MirrorError(ErrorKind::Storage, CausedBy::us, "by the script");
    } else if (const auto* apply = std::get_if<action::Apply>(&request)) {
      done = engine_->apply(apply->group);
    } else if (const auto* back = std::get_if<action::StepBack>(&request)) {
      done = engine_->step_back(back->from);
    } else if (const auto* begin = std::get_if<action::BeginSnapshot>(&request)) {
      done = engine_->begin_snapshot(begin->facts);
    } else if (const auto* store = std::get_if<action::StoreChunk>(&request)) {
      done = engine_->store_chunk(store->chunk, store->bytes);
    } else if (std::holds_alternative<action::CheckSnapshot>(request)) {
      const auto check = engine_->check_snapshot();
      if (check) given.check = *check;
      if (!check) done = check.error();
    } else if (std::holds_alternative<action::SwitchSnapshot>(request)) {
      done = engine_->switch_snapshot();
    } else if (std::holds_alternative<action::DropSnapshot>(request)) {
      done = engine_->drop_snapshot();
    } else if (std::holds_alternative<action::Promote>(request)) {
      const auto promoted = engine_->promote("fuzz", "db");
      if (promoted) given.promoted_from = *promoted;
      if (!promoted) done = promoted.error();
    }
    const auto state = engine_->mirror_state();
    given.mark = {state.position, state.durable};
    machine_.on_engine(done ? Result<core::EngineAnswer>(given) : done.error(), now_);
  }

  void ask_view() {
    if (questions_.empty()) return;
    const auto question = questions_.front();
    questions_.pop_front();
    if (script_.chance()) return machine_.on_digest(question, core::RangeDigest::Answer{script_.byte(), {}, {}}, now_);
    machine_.on_keys(question, core::Keys::Answer{}, now_);
  }

  void take() {
    for (auto& one : machine_.take_actions()) {
      if (const auto* send = std::get_if<action::Send>(&one)) {
        const auto sent = read_sent(send->frame, 0);
        require(sent && !sent->bulk, "a mirror sends no bulk frames");
        last_stream_ = send->stream;
        if (const auto* probe = std::get_if<core::Probe>(&sent->message)) probe_ = probe->t0_us;
      } else if (std::holds_alternative<action::Dial>(one)) {
        require(!connected_ && !dialing_, "it dials when it is neither dialling nor connected");
        dialing_ = true;
      } else if (std::holds_alternative<action::CloseLink>(one)) {
        closing_ = true;
      } else if (const auto* digest = std::get_if<action::DigestRange>(&one)) {
        questions_.push_back(digest->question);
      } else if (const auto* keys = std::get_if<action::ListKeys>(&one)) {
        questions_.push_back(keys->question);
      } else if (one.index() >= action_of_engine_first && !std::holds_alternative<action::CloseView>(one)) {
        require(!call_, "one call of the engine at a time");
        const bool changes =
            std::holds_alternative<action::Apply>(one) || std::holds_alternative<action::SwitchSnapshot>(one);
        require(!changes || !machine_.promoted(), "nothing is applied after a promotion");
        call_ = std::move(one);
      }
    }
    require(machine_.held_bytes() <= cap_bytes + over_cap_bytes_max, "the cap holds");
    require(!machine_.status(now_).reason.empty(), "a status has a reason");
    if (std::exchange(closing_, false)) {
      connected_ = dialing_ = false;
      machine_.on_disconnected(MirrorError::not_connected("the link"), now_);
      take();
    }
  }

  static constexpr std::size_t action_of_engine_first = 7;  // Apply and what follows it in MirrorAction
  static core::MirrorMachineConfig config() {
    core::MirrorMachineConfig chosen;
    chosen.self = "fuzz/mirror";
    chosen.in_flight_bytes_max = cap_bytes;
    return chosen;
  }

  Script script_;
  std::unique_ptr<MemoryDatabase> source_ = MemoryDatabase::create(), engine_ = MemoryDatabase::empty();
  core::MemoryFragmentStore fragments_;
  core::ThrottleAccount throttle_{cap_bytes};
  core::Instant now_{1'000'000};
  core::MirrorMachine machine_{config(), engine_->mirror_state(), engine_->traits(), fragments_, throttle_, now_};
  std::optional<core::MirrorAction> call_;
  std::deque<core::Question> questions_;
  StreamToken last_stream_ = 1;
  Lsn sent_lsn_;
  std::uint64_t probe_ = 0, snapshot_offset_ = 0;
  bool connected_ = false, dialing_ = false, closing_ = false;
};

}  // namespace
}  // namespace crosslink::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  crosslink::fuzz::MirrorRun(std::as_bytes(std::span(data, size))).run();
  return 0;
}
