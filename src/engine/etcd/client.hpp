// Calls of etcd's API: one cluster, several endpoints, authentication. Thread safe.
#pragma once

#include <etcd_messages.pb.h>
#include <etcd_services.grpc.pb.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "crosslink/etcd_engine.hpp"
#include "crosslink/result.hpp"
#include "engine/etcd/connector.hpp"
#include "engine/etcd/credentials.hpp"

namespace crosslink::etcd {

/// A server's answer may be as long as this.
inline constexpr int response_bytes_max = 64 * 1024 * 1024;

MirrorError storage_error(std::string message);

/// A revision is an LSN; a server's word, and so never below 0.
inline Lsn lsn_of(std::int64_t revision) { return {static_cast<std::uint64_t>(std::max<std::int64_t>(revision, 0))}; }

struct Version {
  unsigned major = 0, minor = 0, patch = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
  static Version parse(std::string_view text);
  /// Does a progress notification that was asked for come after all events before it? Not in every
  /// release: docs/architecture.md, "etcd".
  bool progress_is_ordered() const;
  /// Does a watch from the very revision that was compacted leave out a delete there, without an error?
  bool loses_deletes_at_compaction() const;
};

class Client {
 public:
  /// Asks an endpoint for its status. Errors: Configuration, NotAuthorized, Storage.
  static Result<std::shared_ptr<Client>> open(const EtcdCluster& cluster, std::stop_token stop = {});
  /// For streams: an endpoint and its channel.
  struct Place {
    std::size_t endpoint = 0;
    std::shared_ptr<grpc::Channel> channel;
  };

  // Reads, and what may be done twice: asked of one endpoint after another. Errors of all: NotAuthorized;
  // LogWindowExceeded for a revision that was compacted; UnsupportedOperation for what is too large; Storage.
  Result<wire::RangeResponse> range(const wire::RangeRequest& request);
  Result<wire::LeaseGrantResponse> grant(const wire::LeaseGrantRequest& request);
  Result<void> revoke(std::int64_t lease);
  /// Of a process that ends: it waits for a second at most, also after `stop`. What comes of it is not known.
  void revoke_at_end(std::int64_t lease);
  /// Nothing is asked any more: EtcdOptions::stop.
  bool stopping() const { return stop_.stop_requested(); }
  /// How long each lives from now on; 0: it is gone.
  Result<std::vector<std::int64_t>> keep_alive(std::span<const std::int64_t> leases);
  Result<wire::LeaseTimeToLiveResponse> time_to_live(std::int64_t lease);
  Result<void> compact(std::int64_t revision);
  Result<wire::StatusResponse> status();
  /// Of the member behind `place`, which others of its cluster need not be of.
  Result<Version> version_at(const Place& place);
  /// That version's fault, or it is not known to be without.
  bool loses_deletes_at(const Place& place);
  /// A transaction that only reads.
  Result<wire::TxnResponse> read_together(const wire::TxnRequest& request);
  /// Sent once to a member that looks at it: after Storage it is not known whether it was done.
  Result<wire::TxnResponse> txn(const wire::TxnRequest& request);

  /// Of the member that was asked at the opening.
  const Version& version() const { return version_; }
  const std::string& version_text() const { return version_text_; }
  /// 0: nothing has been answered yet but a status that is kept from us.
  std::uint64_t cluster_id() const { return cluster_id_; }

  /// It refused the last thing that takes space.
  bool out_of_space() const { return out_of_space_; }

  /// The endpoint in use, with the certificates that are in their files now, and a context with the token. When it
  /// fails: `failed`.
  Place place();
  void failed(const Place& place);
  Result<void> prepare(grpc::ClientContext& context);
  /// Errors: Storage when it is not the cluster that answered first, as behind endpoints that were given to another.
  Result<void> check_cluster(const wire::Header& header);
  enum class Next : std::uint8_t {
    stop,       ///< it is what was asked that is answered: any member says the same
    new_token,  ///< ours has expired and was forgotten
    elsewhere,  ///< another member may do better
  };
  /// What a stream's or a call's end means.
  struct Meaning {
    MirrorError error;
    Next next = Next::stop;
    bool untouched = false;  ///< with elsewhere: the member refused before it looked at what was asked
  };
  /// Codes with which a kind of call itself is answered. Any other one is of the member: a learner, one that has lost
  /// its leader, one of another version.
  using Answers = std::initializer_list<grpc::StatusCode>;
  Meaning meaning(const grpc::Status& status, std::string_view what, Answers answers);

 private:
  Client(EtcdCluster cluster, std::stop_token stop)
      : cluster_(std::move(cluster)), stop_(std::move(stop)), files_(cluster_) {}
  Result<void> connect();
  std::vector<std::shared_ptr<grpc::Channel>> channels_with(
      const std::shared_ptr<grpc::ChannelCredentials>& credentials) const;
  Result<std::string> token();
  std::string hint(const std::string& detail) const;
  enum class Repeat : std::uint8_t { never, elsewhere };
  template <class Response, class Call>
  Result<Response> call(std::string_view what, Repeat repeat, Answers answers, Call&& make);

  const EtcdCluster cluster_;
  const std::stop_token stop_;
  CredentialFiles files_;
  std::vector<std::string> addresses_;  ///< of the endpoints, as channels want them
  Connector connector_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;  ///< one for each address
  std::size_t current_ = 0;
  std::string token_;
  bool was_known_ = false;          ///< a password was taken
  bool no_authentication_ = false;  ///< the cluster has it switched off
  Version version_;
  std::string version_text_;
  std::atomic<std::uint64_t> cluster_id_ = 0;
  std::atomic<bool> out_of_space_ = false;
};

}  // namespace crosslink::etcd
