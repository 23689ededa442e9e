#include "node/admin/admin_port.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <boost/asio/ssl/context.hpp>
#include <boost/json.hpp>
#include <list>
#include <memory>
#include <utility>

#include "async/stop_event.hpp"
#include "async/task_group.hpp"
#include "async/with_timeout.hpp"
#include "base/files.hpp"
#include "crosslink/types.hpp"
#include "node/admin/body_fields.hpp"
#include "node/admin/byte_stream.hpp"
#include "node/admin/http.hpp"
#include "node/admin/reports.hpp"
#include "node/hosting/private_files.hpp"
#include "node/log.hpp"
#include "node/tuple_of.hpp"
#include "tls/credentials.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::node {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr std::size_t token_bytes = 32, token_file_bytes_max = 4096;

bool is_token(std::string_view text) {
  return text.size() == 2 * token_bytes &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

AdminResponse refusal(unsigned status, ErrorKind kind, const std::string& message) {
  const MirrorError error(kind, CausedBy::peer, message);
  return {status, boost::json::serialize(report_error(error, exit_refused)) + "\n"};
}

/// The request's target, split; the query is what follows the first '?'.
AdminRequest plain_request(const HttpRequest& request) {
  AdminRequest plain;
  const std::string_view target(request.target);
  const auto question = std::min(target.find('?'), target.size());
  plain.method = request.method;
  plain.path = std::string(target.substr(0, question));
  plain.query = std::string(target.substr(std::min(question + 1, target.size())));
  return plain;
}

}  // namespace

Result<std::string> read_token(const std::filesystem::path& file, const base::Files& files) {
  auto text = files.read_text(file, token_file_bytes_max);
  if (!text || text->empty()) return text;
  if (text->back() == '\n') text->pop_back();
  if (auto good = check_kept_private(file); !good) return good.error();
  if (!is_token(*text))
    return MirrorError::configuration(fmt::format("{} is no token: remove it, and one is made", file.string()));
  return text;
}

Result<std::string> read_or_make_token(const std::filesystem::path& file, const base::Files& files) {
  auto known = read_token(file, files);
  if (!known) return known.error();
  if (!known->empty()) {
    if (auto kept = keep_private(file); !kept) return kept.error();
    return known;
  }
  std::array<unsigned char, token_bytes> random{};
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1)
    return MirrorError(ErrorKind::Storage, CausedBy::us, "the system gives no random bytes for a token");
  std::string token;
  for (const auto byte : random)
    token += fmt::format("{:02x}", byte);
  if (auto written = files.replace(file, token + "\n"); !written) return written.error();
  return token;
}

namespace {

/// What the port shows, and the names in it.
struct ServedCertificate {
  std::shared_ptr<asio::ssl::context> tls;
  std::vector<std::string> names;
};

Result<ServedCertificate> read_certificate(const quic::TlsFiles& files) {
  auto fresh = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  boost::system::error_code error;
  static_cast<void>(fresh->set_options(asio::ssl::context::no_tlsv1_1 | asio::ssl::context::no_tlsv1_2, error));
  if (!error) static_cast<void>(fresh->use_certificate_chain_file(files.cert.string(), error));
  if (!error) static_cast<void>(fresh->use_private_key_file(files.key.string(), asio::ssl::context::pem, error));
  if (error) return MirrorError::configuration(fmt::format("admin: the certificate: {}", error.message()));
  auto named = tls::dns_names_of_file(files.cert);
  if (!named) return named.error();
  return ServedCertificate{std::move(fresh), *std::move(named)};
}

}  // namespace

struct AdminPort::Impl {
  explicit Impl(const asio::any_io_executor& executor) : acceptor(executor) {}

  struct Open {
    ByteStream* stream;
    bool waits = true;    ///< for a request, or for the rest of one
    bool leaves = false;  ///< after the answer that is being made, if any
  };
  using Place = std::list<Open>::iterator;

  Result<void> prepare(const AdminPortOptions& options);
  void take(ServedCertificate certificate) {
    tls = std::move(certificate.tls);
    names = std::move(certificate.names);
  }
  bool may_host(std::string_view host) const;
  std::optional<AdminResponse> guard(const HttpRequest& request) const;
  static awaitable<AdminResponse> answer(std::shared_ptr<Impl> self, HttpRequest request, const ByteStream& stream,
                                         AdminRoutes& routes);
  static awaitable<void> serve_requests(std::shared_ptr<Impl> self, ByteStream& stream, Place place,
                                        AdminRoutes& routes);
  static awaitable<void> serve(std::shared_ptr<Impl> self, tcp::socket socket, AdminRoutes& routes);
  static Task<void> accept_all(std::shared_ptr<Impl> self, async::TaskGroup& group, AdminRoutes& routes);
  void make_room();

  tcp::acceptor acceptor;
  tcp::endpoint local;
  std::string token;
  std::shared_ptr<asio::ssl::context> tls;  ///< null: plain HTTP
  std::vector<std::string> names;           ///< of the certificate
  std::list<Open> open;                     ///< the oldest first
  async::StopEvent stop;
};

Result<void> AdminPort::Impl::prepare(const AdminPortOptions& options) {
  token = options.token;
  const auto& address = options.address;
  boost::system::error_code error;
  if (!acceptor.open(address.protocol(), error) &&
      !acceptor.set_option(asio::socket_base::reuse_address(true), error) && !acceptor.bind(address, error) &&
      !acceptor.listen(asio::socket_base::max_listen_connections, error)) {
    local = acceptor.local_endpoint(error);
  }
  if (error) {
    return MirrorError::configuration(fmt::format("admin: cannot listen on {}:{}: {}", address.address().to_string(),
                                                  address.port(), error.message()));
  }
  if (!options.tls) return {};
  auto certificate = read_certificate(*options.tls);
  if (!certificate) return certificate.error();
  take(*std::move(certificate));
  return {};
}

/// A page in a browser can make requests to an address of this machine under a name of its own: not under these.
bool AdminPort::Impl::may_host(std::string_view host) const {
  const auto port = fmt::format(":{}", local.port());
  if (host.ends_with(port)) host.remove_suffix(port.size());
  const auto own = local.address().to_string();
  if (host == own || host == "[" + own + "]") return true;
  if (tls) {
    // Reached under any address it has; and under a name only if that is in its certificate.
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    boost::system::error_code no_literal;
    static_cast<void>(asio::ip::make_address(host, no_literal));
    return !no_literal || std::ranges::any_of(names, [&](const auto& name) { return equal_ignoring_case(name, host); });
  }
  return host == "localhost" || host == "127.0.0.1" || host == "[::1]";
}

std::optional<AdminResponse> AdminPort::Impl::guard(const HttpRequest& request) const {
  if (!request.host || !may_host(*request.host))
    return refusal(421, ErrorKind::NotAuthorized, "the Host of this request is not where this node listens");
  constexpr std::string_view scheme = "Bearer ";
  const std::string_view given = request.authorization ? std::string_view(*request.authorization) : std::string_view();
  const bool good = given.starts_with(scheme) && given.size() == scheme.size() + token.size() &&
                    CRYPTO_memcmp(given.data() + scheme.size(), token.data(), token.size()) == 0;
  if (!good) return refusal(401, ErrorKind::NotAuthorized, "the token of data_dir/admin.token is missing or wrong");
  const auto& type = request.content_type;
  const bool json = type && (*type == "application/json" || type->starts_with("application/json;"));
  const bool changes = request.method != "GET" && request.method != "HEAD";
  if (changes && !json && (request.method != "DELETE" || !request.body.empty()))
    return refusal(415, ErrorKind::Configuration, "Content-Type must be application/json");
  return std::nullopt;
}

awaitable<AdminResponse> AdminPort::Impl::answer(std::shared_ptr<Impl> self, HttpRequest request,
                                                 const ByteStream& stream, AdminRoutes& routes) {
  auto plain = plain_request(request);
  plain.caller.gone = [&stream] { return stream.peer_left(); };
  if (auto unauthenticated = routes.answer_unauthenticated(plain)) co_return *std::move(unauthenticated);
  if (auto refused = self->guard(request)) co_return *std::move(refused);
  if (!request.body.empty()) {
    auto body = read_body(request.body);
    if (!body) co_return refusal(400, body.error().kind(), body.error().message());
    plain.body = *std::move(body);
    plain.has_body = true;
  }
  auto answering = routes.answer(plain);
  co_return co_await std::move(answering);
}

namespace {

/// Answers what cannot be read as a request. What still comes of it is taken in for a while: a connection that is closed
/// before its bytes were read is reset, and the answer may be lost with it.
awaitable<void> answer_unreadable(ByteStream& stream, unsigned status, std::string why) {
  constexpr std::size_t step_bytes = 64 * 1024, taken_bytes_max = 1024 * 1024;
  constexpr std::chrono::seconds taken_for(1);
  const auto refused = refusal(status, ErrorKind::Configuration, "no request of HTTP that is taken here: " + why);
  HttpResponse response;
  response.status = refused.status;
  response.content_type = refused.content_type;
  response.body = refused.body;
  const auto text = to_text(response);
  const auto write_error = co_await stream.write(text);
  if (write_error) co_return;
  stream.expires_after(taken_for);
  std::string taken;
  for (std::size_t bytes = 0; bytes < taken_bytes_max; bytes += taken.size()) {
    taken.clear();
    const auto read_error = co_await stream.read_some(taken, step_bytes);
    if (read_error) co_return;
  }
}

}  // namespace

awaitable<void> AdminPort::Impl::serve_requests(std::shared_ptr<Impl> self, ByteStream& stream, Place place,
                                                AdminRoutes& routes) {
  HttpReader reader(stream, {header_bytes_max, body_bytes_max});
  for (;;) {
    stream.expires_after(request_timeout);
    place->waits = true;
    HttpRequest request;
    const auto read_error = co_await reader.read(request);
    if (read_error) {
      const auto status = reader.status_of(read_error);
      if (!status) co_return;
      auto why = read_error.message();
      auto answering = answer_unreadable(stream, *status, std::move(why));
      co_await std::move(answering);
      co_return;
    }
    place->waits = false;
    stream.expires_never();  // a verify takes as long as it takes
    HttpResponse response;
    response.version = request.version;
    response.keep_alive = request.keep_alive;
    auto answering = answer(self, std::move(request), stream, routes);
    const auto answered = co_await std::move(answering);
    response.status = answered.status;
    response.content_type = answered.content_type;
    response.body = answered.body;
    const auto text = to_text(response);
    stream.expires_after(request_timeout);
    const auto write_error = co_await stream.write(text);
    if (write_error || !response.keep_alive || place->leaves || self->stop.is_set()) co_return;
  }
}

awaitable<void> AdminPort::Impl::serve(std::shared_ptr<Impl> self, tcp::socket socket, AdminRoutes& routes) {
  ByteStream stream(std::move(socket));
  const auto place = self->open.insert(self->open.end(), Open{&stream});
  boost::system::error_code error;
  if (self->tls) {
    stream.use_tls(self->tls);
    stream.expires_after(request_timeout);
    error = co_await stream.handshake(TlsSide::server);
  }
  if (!error) {
    co_await serve_requests(self, stream, place, routes);
    stream.expires_after(std::chrono::seconds(1));
    const auto closed = co_await stream.shutdown();
    static_cast<void>(closed);  // the client may be gone
  }
  self->open.erase(place);
}

/// At the limit, closes the oldest idle connection, so that idle ones keep no others out.
void AdminPort::Impl::make_room() {
  const auto oldest = std::ranges::find_if(open, [](const Open& one) { return one.waits && !one.leaves; });
  if (oldest == open.end()) return;
  oldest->leaves = true;
  oldest->stream->cancel();
}

Task<void> AdminPort::Impl::accept_all(std::shared_ptr<Impl> self, async::TaskGroup& group, AdminRoutes& routes) {
  for (;;) {
    // One that came between two waits has cancelled neither.
    if (async::is_cancelled(co_await asio::this_coro::cancellation_state))
      co_return MirrorError::cancelled("accepting commands");
    auto [error, socket] = co_await self->acceptor.async_accept(tuple_of);
    if (error == asio::error::operation_aborted) co_return MirrorError::cancelled("accepting commands");
    if (error) {
      const bool slept = co_await async::sleep_for(std::chrono::milliseconds(50));  // no descriptor is left, perhaps
      if (!slept) co_return MirrorError::cancelled("accepting commands");
      continue;
    }
    if (group.running() >= connections_max) self->make_room();
    const bool has_room = co_await group.wait_below(connections_max);
    if (!has_room) co_return MirrorError::cancelled("accepting commands");
    group.spawn(serve(self, std::move(socket), routes));
  }
}

AdminPort::AdminPort(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
AdminPort::~AdminPort() { stop(); }

Result<std::unique_ptr<AdminPort>> AdminPort::open(const asio::any_io_executor& executor,
                                                   const AdminPortOptions& options) {
  auto impl = std::make_shared<Impl>(executor);
  if (auto prepared = impl->prepare(options); !prepared) return prepared.error();
  return std::unique_ptr<AdminPort>(new AdminPort(std::move(impl)));
}

tcp::endpoint AdminPort::address() const { return impl_->local; }
void AdminPort::stop() { impl_->stop.set(); }
Result<std::function<void()>> AdminPort::prepare_reload(const quic::TlsFiles& files) {
  if (!impl_->tls) return std::function<void()>([] {});
  auto fresh = read_certificate(files);
  if (!fresh) return fresh.error();
  return std::function<void()>([impl = impl_, fresh = *std::move(fresh)] { impl->take(fresh); });
}

Task<void> AdminPort::run(AdminRoutes& routes) {
  auto work = [](std::shared_ptr<Impl> self, AdminRoutes& own) -> Task<void> {
    auto executor = co_await asio::this_coro::executor;
    async::TaskGroup group(executor);
    auto accepting = Impl::accept_all(self, group, own);
    auto stopped = async::when_set(self->stop, MirrorError::cancelled("accepting commands"));
    const auto ended = co_await async::interruptible(std::move(accepting), std::move(stopped));
    boost::system::error_code ignored;  // it is closed then
    static_cast<void>(self->acceptor.close(ignored));
    for (const auto& one : self->open)
      one.stream->cancel();
    group.cancel();
    co_await group.drain();
    if (self->stop.is_set()) co_return Result<void>{};
    co_return ended;
  };
  return work(impl_, routes);
}

}  // namespace crosslink::node
