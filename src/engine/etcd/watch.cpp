#include "engine/etcd/watch.hpp"

#include <fmt/format.h>

#include <utility>

namespace crosslink::etcd {
Result<std::unique_ptr<WatchStream>> WatchStream::open_at(const Client::Place& place, std::shared_ptr<Client> client,
                                                          const std::string& key, const std::string& range_end,
                                                          std::int64_t from) {
  std::unique_ptr<WatchStream> watch(new WatchStream(std::move(client), place));
  if (auto prepared = watch->client_->prepare(watch->context_); !prepared) {
    watch->client_->failed(watch->place_);
    return prepared.error();
  }
  watch->stub_ = etcdserverpb::Watch::NewStub(watch->place_.channel);
  watch->stream_ = watch->stub_->Watch(&watch->context_);
  wire::WatchRequest request;
  auto& create = *request.mutable_create();
  create.set_key(key);
  create.set_range_end(range_end);
  create.set_start_revision(from);
  create.set_progress_notify(true);
  create.set_fragment(true);
  if (!watch->stream_->Write(request)) return watch->end();
  auto created = watch->read();
  if (!created) return created.error();
  if (!created->created()) return storage_error("a watch began with something else than its beginning");
  if (auto ours = watch->client_->check_cluster(created->header()); !ours) {
    watch->client_->failed(place);
    return ours.error();
  }
  return watch;
}

WatchStream::~WatchStream() {
  if (!stream_ || ended_) return;
  context_.TryCancel();
  static_cast<void>(stream_->Finish());  // cancelled, by us
}

MirrorError WatchStream::end() {
  const std::scoped_lock lock(ending_);
  if (std::exchange(ended_, true)) return storage_error("a watch has ended");
  const auto status = stream_->Finish();
  if (status.ok()) return storage_error("a watch was ended by the server");
  auto meant = client_->meaning(status, "watching", {});
  if (meant.next == Client::Next::elsewhere) client_->failed(place_);
  return meant.error;
}

/// What was held comes first; of an answer that goes on, the last revision is held: it may go on as well.
void WatchStream::take_up(wire::WatchResponse& response) {
  if (!held_.empty()) {
    auto whole = std::exchange(held_, {});
    for (auto& event : *response.mutable_events())
      whole.emplace_back().Swap(&event);
    response.clear_events();
    for (auto& event : whole)
      response.add_events()->Swap(&event);
  }
  held_bytes_ = 0;
  if (!response.fragment() || response.events_size() == 0) return;
  auto& events = *response.mutable_events();
  const auto last = events[events.size() - 1].kv().mod_revision();
  int begin = events.size();
  while (begin > 0 && events[begin - 1].kv().mod_revision() == last)
    --begin;
  for (int i = begin; i < events.size(); ++i) {
    held_bytes_ += events[i].ByteSizeLong();
    held_.emplace_back().Swap(&events[i]);
  }
  events.DeleteSubrange(begin, events.size() - begin);
}

/// Of a revision that is too large to be held: reads to its end, and says how large it is.
MirrorError WatchStream::measure(std::int64_t revision, bool goes_on) {
  auto bytes = held_bytes_;
  held_.clear();
  held_bytes_ = 0;
  wire::WatchResponse response;
  while (goes_on) {
    if (!stream_->Read(&response)) return end();
    goes_on = response.fragment();
    for (const auto& event : response.events()) {
      goes_on = goes_on && event.kv().mod_revision() == revision;
      if (event.kv().mod_revision() == revision) bytes += event.ByteSizeLong();
    }
  }
  met_large_revision_ = true;
  return {ErrorKind::UnsupportedOperation, CausedBy::us,
          fmt::format("etcd: revision {} is of {} bytes, and one of more than {} cannot be mirrored as one entry",
                      revision, bytes, revision_bytes_max_)};
}

Result<wire::WatchResponse> WatchStream::read() {
  if (ended_) return storage_error("a watch has ended");  // only this thread ends it
  wire::WatchResponse response;
  do {
    if (!stream_->Read(&response)) return end();
    take_up(response);
    if (held_bytes_ > revision_bytes_max_) return measure(held_.back().kv().mod_revision(), response.fragment());
  } while (response.fragment() && response.events_size() == 0);
  if (!response.canceled()) return response;
  if (response.compact_revision() > 0) {
    return MirrorError(ErrorKind::LogWindowExceeded, CausedBy::us,
                       fmt::format("etcd: the history up to revision {} was compacted", response.compact_revision()));
  }
  const auto& reason = response.cancel_reason();
  if (reason.find("permission denied") != std::string::npos)
    return client_->meaning({grpc::StatusCode::PERMISSION_DENIED, reason}, "watching", {}).error;
  if (reason.find("auth token") != std::string::npos)
    return client_->meaning({grpc::StatusCode::UNAUTHENTICATED, reason}, "watching", {}).error;
  client_->failed(place_);
  return storage_error(fmt::format("a watch was cancelled: {}", printable(reason)));
}

Result<void> WatchStream::ask_progress() {
  wire::WatchRequest request;
  request.mutable_progress();
  const std::scoped_lock lock(ending_);
  if (ended_) return storage_error("a watch has ended");
  if (!stream_->Write(request)) return storage_error("a watch has ended");
  return {};
}

}  // namespace crosslink::etcd
