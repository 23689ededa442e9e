// One watch on a stream of its own, and what comes out of it: the entries of a database.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/etcd/client.hpp"

namespace crosslink::etcd {

/// One revision is one entry, and is held in memory whole: a larger one is none that could be mirrored.
inline constexpr std::size_t revision_bytes_max_default = std::size_t{256} * 1024 * 1024;

class WatchStream {
 public:
  /// Events from `from` on of the keys in [key, range_end). Errors: NotAuthorized, Storage.
  static Result<std::unique_ptr<WatchStream>> open_at(const Client::Place& place, std::shared_ptr<Client> client,
                                                      const std::string& key, const std::string& range_end,
                                                      std::int64_t from);
  ~WatchStream();
  void limit_revision(std::size_t bytes_max) { revision_bytes_max_ = bytes_max; }
  /// The next answer, or as much of one in fragments as holds whole revisions: none is cut. Errors: LogWindowExceeded
  /// when what it would come from was compacted; NotAuthorized; UnsupportedOperation for a revision above the limit, of
  /// which it says the size; Storage when the stream ended, cancel() included.
  Result<wire::WatchResponse> read();
  /// Asks for a notification of how far it has come, also while another thread reads. The server may drop it: ask
  /// again. Only where Version::progress_is_ordered().
  Result<void> ask_progress();
  /// Ends a read() that waits, from any thread.
  void cancel() { context_.TryCancel(); }
  /// It ended with a revision above the limit.
  bool met_large_revision() const { return met_large_revision_; }

 private:
  WatchStream(std::shared_ptr<Client> client, Client::Place place)
      : client_(std::move(client)), place_(std::move(place)) {}
  MirrorError end();
  void take_up(wire::WatchResponse& response);
  MirrorError measure(std::int64_t revision, bool goes_on);
  std::shared_ptr<Client> client_;
  const Client::Place place_;
  std::unique_ptr<etcdserverpb::Watch::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<wire::WatchRequest, wire::WatchResponse>> stream_;
  std::vector<wire::Event> held_;  ///< of the revision in which a fragment ended
  std::size_t held_bytes_ = 0, revision_bytes_max_ = revision_bytes_max_default;
  std::mutex ending_;  ///< the stream is not finished under a writer
  bool ended_ = false;
  bool met_large_revision_ = false;
};

}  // namespace crosslink::etcd
