#include "engine/etcd/client.hpp"

#include <fmt/format.h>

#include <charconv>
#include <thread>
#include <utility>

#include "crosslink/types.hpp"

namespace crosslink::etcd {
namespace {

using Code = grpc::StatusCode;

constexpr std::chrono::seconds end_takes_at_most(1);
constexpr std::string_view plain = "http://", encrypted = "https://";

grpc::ChannelArguments channel_arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(response_bytes_max);
  arguments.SetMaxSendMessageSize(-1);
  // etcd refuses pings that come more often than every five seconds.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 6000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // This is how long an attempt may take, too: the handshakes of a busy server, far away.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return arguments;
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// Refusals that a member makes before it looks at the request; the first one's code depends on its version.
bool is_untouched(const std::string& detail) {
  return contains(detail, "rpc not supported for learner") || contains(detail, "etcdserver: no leader") ||
         contains(detail, "etcdserver: too many requests");
}

/// From 3.4.42, 3.5.28 and 3.6.0 on a member tells its status to administrators only, later ones (3.5.32, 3.6.12) again
/// to all: a member that refuses is not older than the first of them.
grpc::Status ask_status(const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext& context,
                        wire::StatusResponse& response) {
  auto status = etcdserverpb::Maintenance::NewStub(channel)->Status(&context, wire::StatusRequest(), &response);
  if (status.error_code() != grpc::StatusCode::PERMISSION_DENIED) return status;
  response.set_version("3.4.42 or later");
  return grpc::Status::OK;
}

/// A member that is cut off from the others refuses at once, and ends its streams, instead of letting us wait.
void ask_for_leader(grpc::ClientContext& context) { context.AddMetadata("hasleader", "true"); }

}  // namespace

MirrorError storage_error(std::string message) {
  return {ErrorKind::Storage, CausedBy::us, "etcd: " + std::move(message)};
}

Version Version::parse(std::string_view text) {
  Version version;
  for (auto* part : {&version.major, &version.minor, &version.patch}) {
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), *part);
    text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
    if (!text.starts_with('.')) break;
    text.remove_prefix(1);
  }
  return version;
}

bool Version::progress_is_ordered() const {
  // First mended in 3.4.25 and 3.5.8; the last gap in it was closed in 3.4.32 and 3.5.13.
  if (major != 3) return major > 3;
  if (minor == 4) return patch >= 32;
  if (minor == 5) return patch >= 13;
  return minor >= 6;
}

bool Version::loses_deletes_at_compaction() const {
  if (major != 3) return major < 3;
  if (minor == 4) return patch < 36;
  if (minor == 5) return patch < 18;
  return minor < 4;
}

// --- endpoints
// -------------------------------------------------------------------------------------------------

Result<std::shared_ptr<Client>> Client::open(const EtcdCluster& cluster, std::stop_token stop) {
  std::shared_ptr<Client> client(new Client(cluster, std::move(stop)));
  if (auto connected = client->connect(); !connected) return connected.error();
  const auto answered = client->status();
  if (!answered) return answered.error();
  client->version_text_ = answered->version();
  client->version_ = Version::parse(answered->version());
  if (auto known = client->check_cluster(answered->header()); !known) return known.error();
  return client;
}

Result<void> Client::connect() {
  if (cluster_.endpoints.empty()) return MirrorError::configuration("etcd needs at least one endpoint");
  const bool tls = cluster_.endpoints.front().starts_with(encrypted);
  if (!cluster_.user.empty() && cluster_.password_file.empty())
    return MirrorError::configuration("an etcd user needs a file with its password");
  const auto credentials = files_.load();
  if (!credentials) return credentials.error();
  for (const auto& endpoint : cluster_.endpoints) {
    const auto scheme = tls ? encrypted : plain;
    auto address = endpoint.starts_with(scheme) ? endpoint.substr(scheme.size()) : std::string();
    while (address.ends_with('/'))
      address.pop_back();
    if (address.empty() || address.find(':') == std::string::npos) {
      return MirrorError::configuration(
          fmt::format("an etcd endpoint is {}HOST:PORT, all of one kind; {} is not", scheme, escape(endpoint)));
    }
    addresses_.push_back(std::move(address));
  }
  channels_ = channels_with(*credentials);
  return {};
}

std::vector<std::shared_ptr<grpc::Channel>> Client::channels_with(
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) const {
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  channels.reserve(addresses_.size());
  for (const auto& address : addresses_)
    channels.push_back(grpc::CreateCustomChannel(address, credentials, channel_arguments()));
  return channels;
}

Client::Place Client::place() {
  std::vector<std::shared_ptr<grpc::Channel>> fresh;
  if (const auto renewed = files_.renewed()) fresh = channels_with(renewed);
  const std::scoped_lock lock(mutex_);
  if (!fresh.empty()) channels_.swap(fresh);  // a stream that stands goes on with the one that it has
  return {current_, channels_[current_]};
}

void Client::failed(const Place& place) {
  connector_.want(place.channel);
  const std::scoped_lock lock(mutex_);
  if (current_ == place.endpoint) current_ = (current_ + 1) % addresses_.size();
}

// --- authentication
// -------------------------------------------------------------------------------------------------

Result<std::string> Client::token() {
  std::shared_ptr<grpc::Channel> channel;
  {
    const std::scoped_lock lock(mutex_);
    if (cluster_.user.empty() || no_authentication_ || !token_.empty()) return token_;
    channel = channels_[current_];
  }
  const auto password = files_.password();
  if (!password) return password.error();
  wire::AuthenticateRequest request;
  request.set_name(cluster_.user);
  request.set_password(*password);
  wire::AuthenticateResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + cluster_.call_deadline);
  ask_for_leader(context);
  const std::stop_callback ends(stop_, [&context] { context.TryCancel(); });
  const auto status = etcdserverpb::Auth::NewStub(channel)->Authenticate(&context, request, &response);
  const std::scoped_lock lock(mutex_);
  if (status.ok()) {
    token_ = response.token();
    was_known_ = true;
  } else if (contains(status.error_message(), "authentication is not enabled")) {
    no_authentication_ = true;
  } else if (contains(status.error_message(), "authentication failed")) {
    // One that was taken before is being changed: in etcd first, then in the file.
    return MirrorError(was_known_ ? ErrorKind::Storage : ErrorKind::NotAuthorized, CausedBy::us,
                       fmt::format("etcd does not take the password of user {}", escape(cluster_.user)));
  } else {
    return storage_error(fmt::format("asking for a token failed: {}", printable(status.error_message())));
  }
  return token_;
}

Result<void> Client::check_cluster(const wire::Header& header) {
  std::uint64_t known = 0;
  if (header.cluster_id() == 0 || cluster_id_.compare_exchange_strong(known, header.cluster_id())) return {};
  if (header.cluster_id() == known) return {};
  return storage_error(
      fmt::format("another cluster answers, of the id {:x}: this database is in {:x}", header.cluster_id(), known));
}

Result<void> Client::prepare(grpc::ClientContext& context) {
  ask_for_leader(context);
  auto ours = token();
  if (!ours) return ours.error();
  if (!ours->empty()) context.AddMetadata("token", *ours);
  return {};
}

// --- what answers mean
// -------------------------------------------------------------------------------------------------

std::string Client::hint(const std::string& detail) const {
  const bool tls = cluster_.endpoints.front().starts_with(encrypted);
  const bool cut = contains(detail, "Socket closed") || contains(detail, "reset by peer") ||
                   contains(detail, "GOAWAY") || contains(detail, "Broken pipe");
  if (contains(detail, "connection attempt timed out")) {
    return tls ? "; it takes connections and answers nothing: does it speak TLS, or is it stopped or overloaded?"
               : "; it takes connections and answers nothing: is it stopped or overloaded?";
  }
  const bool no_handshake = contains(detail, "failed to connect") && cut;
  if (tls && (contains(detail, "SSL_ERROR_SSL") || no_handshake))
    return "; does this endpoint speak TLS, and is its certificate of the authority given?";
  if (tls && contains(detail, "Endpoint read failed")) {
    return cluster_.cert_file.empty() ? "; does it ask for a certificate of ours?"
                                      : "; does it take the certificate that we show?";
  }
  if (!tls && cut) return "; a server listens there: does it want TLS, https://?";
  return "";
}

Client::Meaning Client::meaning(const grpc::Status& status, std::string_view what, Answers answers) {
  const auto& detail = status.error_message();
  const auto said = fmt::format("{}: {}", what, printable(detail));
  const auto refuse = [&](ErrorKind kind) { return Meaning{MirrorError(kind, CausedBy::us, "etcd: " + said)}; };
  const auto old_token = [&] {
    const std::scoped_lock lock(mutex_);
    token_.clear();
    no_authentication_ = false;  // it may have been switched on since
    return Meaning{storage_error(said), Next::new_token};
  };
  if (is_untouched(detail)) return {storage_error(said), Next::elsewhere, true};
  // By its words: a proxy of etcd's gives it another code.
  if (contains(detail, "revision has been compacted")) return refuse(ErrorKind::LogWindowExceeded);
  const auto code = status.error_code();
  if (code == grpc::StatusCode::UNAUTHENTICATED) return old_token();
  if (code == grpc::StatusCode::PERMISSION_DENIED) {
    auto meant = refuse(ErrorKind::NotAuthorized);
    const auto who = cluster_.user.empty() ? std::string("who gives no user") : "user " + escape(cluster_.user);
    meant.error = meant.error.with_context(fmt::format("{} has not the right", who));
    return meant;
  }
  if (code == grpc::StatusCode::INVALID_ARGUMENT) {
    if (contains(detail, "revision of auth store is old")) return old_token();
    if (contains(detail, "user name is empty"))
      return cluster_.user.empty() ? refuse(ErrorKind::NotAuthorized) : old_token();
    return refuse(ErrorKind::UnsupportedOperation);
  }
  if (code == grpc::StatusCode::RESOURCE_EXHAUSTED && contains(detail, "larger than max"))
    return refuse(ErrorKind::UnsupportedOperation);
  if (contains(detail, "database space exceeded")) {
    out_of_space_ = true;
    return {
        storage_error(said).with_context("the target etcd is out of space: once crosslink has compacted it, defragment "
                                         "it and disarm its alarm NOSPACE")};
  }
  if (std::ranges::find(answers, code) != answers.end()) return {storage_error(said)};
  return {storage_error(said + hint(detail)), Next::elsewhere};
}

// --- calls
// -------------------------------------------------------------------------------------------------

template <class Response, class Call>
Result<Response> Client::call(std::string_view what, Repeat repeat, Answers answers, Call&& make) {
  const auto members = addresses_.size();
  const auto attempts = repeat == Repeat::never ? 1 : 2 * members + 1;
  // Who has not looked at it may be asked again: a new leader is there within a second or two.
  const auto refused_until = std::chrono::steady_clock::now() + cluster_.call_deadline;
  std::size_t attempt = 0, unprepared = 0, refused = 0;
  bool fresh_token = false;
  std::optional<MirrorError> last;
  while (attempt < attempts) {
    const auto where = place();
    if (stopping()) return storage_error(fmt::format("{}: the node stops", what));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + cluster_.call_deadline);
    const std::stop_callback ends(stop_, [&context] { context.TryCancel(); });
    Response response;
    if (auto prepared = prepare(context); !prepared) {
      if (prepared.error().kind() != ErrorKind::Storage) return prepared.error();
      last = prepared.error();
      failed(where);
      if (++unprepared >= members) ++attempt;
      continue;
    }
    const grpc::Status status = make(where.channel, context, response);
    if (status.ok()) {
      auto ours = check_cluster(response.header());
      if (ours) return response;
      last = ours.error();
      failed(where);
      ++attempt;
      continue;
    }
    auto meant = meaning(status, what, answers);
    last = meant.error;
    if (meant.next == Next::new_token && !std::exchange(fresh_token, true)) continue;
    if (meant.next != Next::elsewhere) break;
    failed(where);
    const bool again = meant.untouched && std::chrono::steady_clock::now() < refused_until;
    const auto tried = again ? ++refused : ++attempt;
    if (tried % members == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return *last;
}

Result<wire::RangeResponse> Client::range(const wire::RangeRequest& request) {
  return call<wire::RangeResponse>("reading", Repeat::elsewhere, {}, [&](auto& channel, auto& context, auto& response) {
    return etcdserverpb::KV::NewStub(channel)->Range(&context, request, &response);
  });
}

Result<wire::TxnResponse> Client::txn(const wire::TxnRequest& request) {
  auto done = call<wire::TxnResponse>("a transaction", Repeat::never, {Code::RESOURCE_EXHAUSTED, Code::NOT_FOUND},
                                      [&](auto& channel, auto& context, auto& response) {
                                        return etcdserverpb::KV::NewStub(channel)->Txn(&context, request, &response);
                                      });
  if (done) out_of_space_ = false;
  return done;
}

Result<wire::TxnResponse> Client::read_together(const wire::TxnRequest& request) {
  return call<wire::TxnResponse>("reading", Repeat::elsewhere, {}, [&](auto& channel, auto& context, auto& response) {
    return etcdserverpb::KV::NewStub(channel)->Txn(&context, request, &response);
  });
}

Result<void> Client::compact(std::int64_t revision) {
  wire::CompactionRequest request;
  request.set_revision(revision);
  auto done =
      call<wire::CompactionResponse>("compacting", Repeat::elsewhere, {}, [&](auto& channel, auto& context, auto& r) {
        return etcdserverpb::KV::NewStub(channel)->Compact(&context, request, &r);
      });
  // Another client compacted further already: that is as good.
  if (!done && done.error().kind() != ErrorKind::LogWindowExceeded) return done.error();
  return {};
}

Result<wire::LeaseGrantResponse> Client::grant(const wire::LeaseGrantRequest& request) {
  return call<wire::LeaseGrantResponse>(
      "granting a lease", Repeat::never, {Code::FAILED_PRECONDITION, Code::ALREADY_EXISTS, Code::RESOURCE_EXHAUSTED},
      [&](auto& channel, auto& context, auto& r) {
        return etcdserverpb::Lease::NewStub(channel)->LeaseGrant(&context, request, &r);
      });
}

Result<void> Client::revoke(std::int64_t lease) {
  wire::LeaseRevokeRequest request;
  request.set_id(lease);
  auto done = call<wire::LeaseRevokeResponse>(
      "ending a lease", Repeat::never, {Code::NOT_FOUND}, [&](auto& channel, auto& context, auto& r) {
        return etcdserverpb::Lease::NewStub(channel)->LeaseRevoke(&context, request, &r);
      });
  return done ? Result<void>{} : done.error();
}

void Client::revoke_at_end(std::int64_t lease) {
  wire::LeaseRevokeRequest request;
  request.set_id(lease);
  wire::LeaseRevokeResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + end_takes_at_most);
  ask_for_leader(context);
  std::shared_ptr<grpc::Channel> channel;
  {
    const std::scoped_lock lock(mutex_);
    channel = channels_[current_];
    if (!token_.empty()) context.AddMetadata("token", token_);
  }
  static_cast<void>(etcdserverpb::Lease::NewStub(channel)->LeaseRevoke(&context, request, &response));
}

Result<std::vector<std::int64_t>> Client::keep_alive(std::span<const std::int64_t> leases) {
  // So many questions and answers are on their way at once: more of them than a stream holds would wait for one
  // another.
  constexpr std::size_t asked_at_once = 200;
  std::vector<std::int64_t> left_s;
  auto done = call<wire::LeaseKeepAliveResponse>(
      "keeping leases", Repeat::elsewhere, {Code::NOT_FOUND}, [&](auto& channel, auto& context, auto& response) {
        const auto stream = etcdserverpb::Lease::NewStub(channel)->LeaseKeepAlive(&context);
        left_s.clear();
        for (std::size_t asked = 0; left_s.size() < leases.size();) {
          for (; asked < leases.size() && asked < left_s.size() + asked_at_once; ++asked) {
            wire::LeaseKeepAliveRequest request;
            request.set_id(leases[asked]);
            if (!stream->Write(request)) return stream->Finish();
          }
          if (!stream->Read(&response)) return stream->Finish();
          left_s.push_back(std::max<std::int64_t>(response.ttl_s(), 0));
        }
        context.TryCancel();
        static_cast<void>(stream->Finish());  // cancelled, by us
        return grpc::Status::OK;
      });
  if (!done) return done.error();
  return left_s;
}

Result<wire::LeaseTimeToLiveResponse> Client::time_to_live(std::int64_t lease) {
  wire::LeaseTimeToLiveRequest request;
  request.set_id(lease);
  return call<wire::LeaseTimeToLiveResponse>(
      "asking for a lease", Repeat::elsewhere, {Code::NOT_FOUND}, [&](auto& channel, auto& context, auto& response) {
        return etcdserverpb::Lease::NewStub(channel)->LeaseTimeToLive(&context, request, &response);
      });
}

Result<wire::StatusResponse> Client::status() {
  return call<wire::StatusResponse>(
      "asking for its status", Repeat::elsewhere, {},
      [&](auto& channel, auto& context, auto& response) { return ask_status(channel, context, response); });
}

Result<Version> Client::version_at(const Place& place) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + cluster_.call_deadline);
  const std::stop_callback ends(stop_, [&context] { context.TryCancel(); });
  if (auto prepared = prepare(context); !prepared) return prepared.error();
  wire::StatusResponse response;
  const auto status = ask_status(place.channel, context, response);
  if (status.ok()) return Version::parse(response.version());
  auto meant = meaning(status, "asking for its version", {});
  if (meant.next == Next::elsewhere) failed(place);
  return meant.error;
}

bool Client::loses_deletes_at(const Place& place) {
  const auto version = version_at(place);
  return !version || version->loses_deletes_at_compaction();
}

}  // namespace crosslink::etcd
