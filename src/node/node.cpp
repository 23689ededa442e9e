#include "node/node.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "async/engine_call.hpp"
#include "async/stop_event.hpp"
#include "async/task_group.hpp"
#include "async/with_timeout.hpp"
#include "crosslink/source.hpp"
#include "crosslink/version.hpp"
#include "node/admin/admin_port.hpp"
#include "node/certificate_watch.hpp"
#include "node/clients/client_database.hpp"
#include "node/clients/client_port.hpp"
#include "node/config_changes.hpp"
#include "node/descriptors.hpp"
#include "node/engine_threads.hpp"
#include "node/handshake_refusals.hpp"
#include "node/hosting/hosted_database.hpp"
#include "node/hosting/hosting.hpp"
#include "node/hosting/private_files.hpp"
#include "node/log.hpp"
#include "node/text.hpp"

namespace crosslink::node {
namespace {

/// A certificate that was renewed, ended or denied counts so much later at most.
constexpr std::chrono::milliseconds look_every(1000);

std::string text_of(const boost::asio::ip::tcp::endpoint& address) {
  return quic::to_text({address.address(), address.port()});
}

/// Better said now than when the last client does not get in.
void compare_descriptors(const NodeConfig& config) {
  const auto have = descriptors();
  const auto open = open_descriptors();
  if (open + config.clients_max <= have.clients_end()) return;
  const bool none = open >= have.clients_end();
  log(none ? Severity::error : Severity::warning,
      none ? "no client fits: databases, mirrors and commands need all files that may be open: raise that limit "
             "(LimitNOFILE)"
           : "fewer clients fit than clients.connections_max says: raise the limit of open files (LimitNOFILE)",
      {{"connections_max", fmt::format("{}", config.clients_max)},
       {"limit", fmt::format("{}", have.limit)},
       {"reserve", fmt::format("{}", have.reserve)},
       {"open", fmt::format("{}", open)}});
}

std::string text_of(const HandshakeReport& report) { return joined(report.peer_names, ","); }

}  // namespace

struct Node::Impl {
  explicit Impl(const NodeConfig& chosen) : config(chosen), tls(chosen.tls) {
    denied->set(chosen.denied_serials);
    tls.denied = denied;
  }
  ~Impl() {
    // Sessions are over; the databases close on the engines' threads, after what these still do.
    clients.reset();
    hosting.reset();
    threads.reset();
  }
  SourcePolicy policy();
  MirrorAcceptor::Callbacks callbacks();
  Task<void> serve(AcceptedMirror& mirror);
  std::vector<CertificateSet> certificate_sets() const;
  Result<void> use_certificates(quic::TlsFiles files);
  static awaitable<void> look_at_certificates(Impl& impl);

  const NodeConfig config;
  const std::shared_ptr<quic::DeniedSerials> denied = std::make_shared<quic::DeniedSerials>();
  quic::TlsFiles tls;  ///< in use; on run()'s thread
  CertificateWatch certificates;
  ReloadFacts reload_facts;
  /// Shared with the transport, which may call after this has gone.
  const std::shared_ptr<HandshakeRefusals> refusals = std::make_shared<HandshakeRefusals>();
  std::unique_ptr<EngineThreads> threads = std::make_unique<EngineThreads>();
  std::unique_ptr<Hosting> hosting;
  std::unique_ptr<MirrorAcceptor> acceptor;
  std::unique_ptr<ClientPort> clients;
  std::unique_ptr<AdminPort> admin;
  std::unique_ptr<AdminRoutes> routes;
};

SourcePolicy Node::Impl::policy() {
  SourcePolicy chosen;
  chosen.cluster_id = ClusterId(config.cluster_id);
  // A database that is not there and one that a name may not see are the same to it.
  chosen.authorize = [this](std::span<const std::string> names, const DatabaseId& id) {
    return hosting->allows(names, id.str());
  };
  chosen.database_exists = [](const DatabaseId&) { return true; };  // else authorize() had refused it
  // A mirror that may see it is told why not now: its operator would look for the fault at their own side.
  chosen.admit = [this](const MirrorHello& hello, std::span<const std::string>) -> std::optional<MirrorError> {
    const auto& name = hello.source_database_id.str();
    const auto found = hosting->databases().not_open(name);
    if (!found) return std::nullopt;
    return MirrorError(ErrorKind::Busy, CausedBy::peer,
                       fmt::format("database {} is not open at the source, which tries again and again: {}",
                                   escape(name), found->reason.message()));
  };
  // For a peer that asks how much there is before it mirrors; a mirror that has a position is told by the log request.
  chosen.decide_snapshot = [this](const MirrorHello& hello) -> SnapshotDecision {
    const auto database = hosting->databases().find(hello.source_database_id.str());
    if (!database || hello.last_applied_lsn != Lsn{}) return {};
    const auto now = database->state();
    if (!now.data_bytes && now.history.empty()) return {};
    return {now.head, now.data_bytes.value_or(0)};
  };
  return chosen;
}

MirrorAcceptor::Callbacks Node::Impl::callbacks() {
  MirrorAcceptor::Callbacks chosen;
  chosen.on_handshake = [](const HandshakeReport& report) {
    std::vector<LogField> fields{{"mirror", text_of(report)}};
    if (report.hello) {
      fields.emplace_back("database", report.hello->source_database_id.str());
      fields.emplace_back("last_applied_lsn", fmt::format("{}", report.hello->last_applied_lsn.value));
    }
    fields.emplace_back("serial", report.certificate_serial);
    if (!report.error) return log(Severity::info, "mirror accepted", fields);
    fields.emplace_back("error", std::string(to_string(report.error->kind())));
    fields.emplace_back("message", report.error->message());
    log(Severity::warning, "mirror refused", fields);
  };
  chosen.on_session_end = [](const AcceptedMirror& mirror, const Result<void>& ended) {
    std::vector<LogField> fields{{"mirror", mirror.peer_names.front()},
                                 {"database", mirror.hello.source_database_id.str()}};
    fields.emplace_back("reason",
                        ended ? std::string("cancelled: the session, by the mirror") : ended.error().message());
    log(Severity::info, "mirror left", fields);
  };
  return chosen;
}

Task<void> Node::Impl::serve(AcceptedMirror& mirror) {
  auto work = [](DatabasePointer database, AcceptedMirror& accepted) -> Task<void> {
    if (!database) co_return MirrorError(ErrorKind::Busy, CausedBy::us, "the database is not open at the source");
    auto serving = database->source().serve(accepted);
    co_return co_await std::move(serving);
  };
  return work(hosting->databases().find(mirror.hello.source_database_id.str()), mirror);
}

// --- certificates

/// Any thread but for `tls`, which is given.
std::vector<CertificateSet> Node::Impl::certificate_sets() const {
  std::vector<CertificateSet> sets{certificate_set_of(tls, config.cluster_id)};
  for (const auto& [name, place] : hosting->etcd_places())
    sets.push_back(certificate_set_of(name, place.cluster));
  return sets;
}

/// All of them, or none.
Result<void> Node::Impl::use_certificates(quic::TlsFiles files) {
  files.denied = denied;
  if (auto good = check_certificates(certificate_set_of(files, config.cluster_id)); !good) return good;
  const auto take_at_admin = admin->prepare_reload(files);
  if (!take_at_admin) return take_at_admin.error();
  if (auto loaded = acceptor->reload(files); !loaded) return loaded;
  (*take_at_admin)();
  tls = std::move(files);
  hosting->renew_certificates(tls);
  return {};
}

/// Files may be on a disk that hangs: they are read on an engine's thread.
awaitable<void> Node::Impl::look_at_certificates(Impl& impl) {
  for (;;) {
    auto look = [&impl, sets = impl.certificate_sets()] { return impl.certificates.look(sets); };
    auto looking = async::call_engine(impl.threads->executors().elsewhere, std::move(look));
    const bool changed = co_await std::move(looking);
    if (changed) {
      const auto used = impl.use_certificates(impl.tls);
      used ? impl.certificates.taken() : impl.certificates.refused(used.error());
    }
    impl.hosting->judge_connections();
    impl.refusals->say();
    const bool slept = co_await async::sleep_for(look_every);
    if (!slept) co_return;
  }
}

Node::Node(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Node::~Node() = default;

Result<std::unique_ptr<Node>> Node::open(const NodeConfig& config, quic::Endpoint endpoint, quic::Address mirrors,
                                         boost::asio::any_io_executor executor, StepListener on_step) {
  if (auto good = check_private(config.tls.key); !good) return good.error();
  auto impl = std::make_unique<Impl>(config);
  auto hosted = config;
  hosted.tls = impl->tls;
  const auto executors = impl->threads->executors();
  auto hosting = Hosting::open(hosted, endpoint, executors, client_databases(executors.commits), std::move(on_step));
  if (!hosting) return hosting.error();
  impl->hosting = *std::move(hosting);
  // Before they are in use: what changes from now on is seen.
  static_cast<void>(impl->certificates.look(impl->certificate_sets()));
  AcceptorLimits limits;
  limits.mirrors_per_name_max = config.mirrors_per_name_max;
  limits.mirrors_max = config.mirrors_max;
  quic::ServerConfig listening;
  listening.connections_max = std::max(listening.connections_max, limits.mirrors_max + limits.handshakes_max);
  listening.tls = impl->tls;
  listening.on_refused = [refusals = impl->refusals](const quic::Address& peer, const MirrorError& why) {
    refusals->note(peer, why);
  };
  auto listener = endpoint.listen(mirrors, listening);
  if (!listener) return listener.error();
  impl->acceptor = std::make_unique<MirrorAcceptor>(
      *std::move(listener), impl->policy(), limits,
      [own = impl.get()](AcceptedMirror& mirror) { return own->serve(mirror); }, impl->callbacks());
  ClientPortOptions options;
  boost::system::error_code error;  // the config was checked: it is an address
  options.address = {boost::asio::ip::make_address(config.clients.host, error), config.clients.port};
  options.password = config.client_password;
  options.connections_max = config.clients_max;
  options.buffers_bytes_max = config.clients_buffers_bytes;
  auto clients = ClientPort::open(executor, options, impl->hosting->databases(), impl->threads->executors());
  if (!clients) return clients.error();
  impl->clients = *std::move(clients);
  compare_descriptors(config);
  auto token = read_or_make_token(config.data_dir / "admin.token");
  if (!token) return token.error();
  AdminPortOptions administration{
      {boost::asio::ip::make_address(config.admin.host, error), config.admin.port}, *std::move(token), std::nullopt};
  if (!administration.address.address().is_loopback()) administration.tls = impl->tls;
  auto admin = AdminPort::open(executor, administration);
  if (!admin) return admin.error();
  impl->admin = *std::move(admin);
  std::unique_ptr<Node> node(new Node(std::move(impl)));
  auto& own = *node->impl_;
  own.routes = std::make_unique<AdminRoutes>(
      *own.hosting, AdminFacts{config.cluster_id, std::string(version_text), quic::to_text(node->mirrors_address()),
                               node->clients_address(), node->admin_address(),
                               [clients = own.clients.get()] { return clients->facts(); },
                               [&own] { return own.certificates.facts(); }, [&own] { return own.reload_facts; },
                               [refusals = own.refusals] { return refusals->times(); }});
  return node;
}

Task<void> Node::run() {
  auto work = [](Impl& impl) -> Task<void> {
    auto executor = co_await boost::asio::this_coro::executor;
    async::TaskGroup group(executor);
    auto run_part = [](Task<void> part, std::string_view name) -> awaitable<void> {
      const auto part_ended = co_await std::move(part);
      if (!part_ended)
        log(Severity::debug, "part ended", {{"part", std::string(name)}, {"reason", part_ended.error().message()}});
    };
    group.spawn(run_part(impl.admin->run(*impl.routes), "admin port"));
    group.spawn(run_part(impl.clients->run(), "client port"));
    group.spawn(run_part(impl.hosting->run(), "hosting"));
    async::TaskGroup looking(executor);
    looking.spawn(Impl::look_at_certificates(impl));
    auto ended = co_await impl.acceptor->run();
    looking.cancel();
    co_await looking.drain();
    impl.admin->stop();
    impl.clients->stop();
    impl.hosting->stop();
    co_await group.drain();
    co_return ended;
  };
  return work(*impl_);
}

void Node::stop() { impl_->acceptor->stop(); }

std::size_t Node::opening() const { return impl_->hosting->opening(); }
quic::Address Node::mirrors_address() const { return impl_->acceptor->local_address(); }
std::string Node::clients_address() const { return text_of(impl_->clients->address()); }
std::string Node::admin_address() const { return text_of(impl_->admin->address()); }

void Node::note_reload(const Result<std::vector<std::string>>& reloaded) {
  auto& facts = impl_->reload_facts;
  if (!reloaded) {
    facts.trouble = reloaded.error().message();
  } else if (!reloaded->empty()) {
    facts.trouble = "it takes a restart: " + joined(*reloaded, ", ");
  } else {
    facts = ReloadFacts();
  }
}

Result<std::vector<std::string>> Node::reload(const NodeConfig& config) {
  impl_->denied->set(config.denied_serials);
  impl_->clients->set_password(config.client_password);
  impl_->hosting->reload(config);
  if (auto used = impl_->use_certificates(config.tls); !used) return used.error();
  return needs_restart(impl_->config, config,
                       [this](std::string_view name) { return !impl_->hosting->place_of(std::string(name)).empty(); });
}

}  // namespace crosslink::node
