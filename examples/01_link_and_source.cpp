// A source and a mirror's link in one program: the smallest thing that works.
//
//   crosslink certs init --dir certs
//   crosslink certs issue --dir certs --name prod-us
//   crosslink certs issue --dir certs --name eu-1
//   01_link_and_source certs
#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <iostream>
#include <string>

#include "crosslink/link.hpp"
#include "crosslink/source.hpp"

using namespace crosslink;

// What every failure of this example comes to: the error's name and its sentence.
int fail(const MirrorError& error) {
  std::cerr << to_string(error.kind()) << ": " << error.message() << "\n";
  return 1;
}

quic::TlsFiles files(const std::string& folder, const std::string& name) {
  return {folder + "/ca.pem", folder + "/" + name + ".pem", folder + "/" + name + ".key"};
}

// Who may mirror what. This source has one database and lets eu-1 see it.
SourcePolicy policy() {
  SourcePolicy result;
  result.cluster_id = ClusterId("prod-us");
  result.authorize = [](std::span<const std::string> names, const DatabaseId&) {
    return std::find(names.begin(), names.end(), "eu-1") != names.end();
  };
  result.database_exists = [](const DatabaseId& database) { return database.str() == "orders"; };
  return result;
}

awaitable<void> mirror(quic::Endpoint endpoint, quic::Address source, std::string folder, MirrorAcceptor& acceptor,
                       int& exit_code) {
  quic::ClientConfig config;
  config.tls = files(folder, "eu-1");
  const std::string address = "127.0.0.1:" + std::to_string(source.port());

  // 1. A link knows its source, its database and where to dial. Making it does no I/O.
  CrossClusterLink link(ClusterId("prod-us"), DatabaseId("orders"), address, endpoint, config);

  // 2. connect() says how far the mirror has applied; the ack says where the log will go on.
  auto ack = co_await link.connect(Lsn{41});
  if (!ack) {
    exit_code = fail(ack.error());
  } else {
    std::cout << "connected to " << ack->source_cluster_id.str() << ", " << link.connection()->facts().tls_version
              << "\n";
    std::cout << (ack->snapshot_lsn == no_snapshot ? "no snapshot: the log follows\n" : "a snapshot follows\n");
  }

  // 3. A database that does not exist is a hard rejection: it returns at once and is never retried.
  CrossClusterLink mistaken(ClusterId("prod-us"), DatabaseId("odrers"), address, endpoint, config);
  auto refused = co_await mistaken.connect(Lsn{0});
  std::cout << "refused: " << (refused ? "no" : to_string(refused.error().kind())) << "\n";

  link.close();
  acceptor.stop();
}

awaitable<void> serve(MirrorAcceptor& acceptor, int& exit_code) {
  auto end = co_await acceptor.run();
  if (!end) exit_code = fail(end.error());
}

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: 01_link_and_source CERTS_FOLDER\n";
    return 2;
  }
  // The context first, the endpoint after it: what waits on the endpoint ends with it.
  boost::asio::io_context context(1);
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return fail(endpoint.error());

  quic::ServerConfig config;
  config.tls = files(argv[1], "prod-us");
  auto listener = endpoint->listen({boost::asio::ip::make_address("127.0.0.1"), 0}, config);
  if (!listener) return fail(listener.error());
  const auto address = listener->local_address();

  // A real source would run a session here; this one refuses every request until the mirror leaves.
  MirrorAcceptor acceptor(std::move(*listener), policy(), {}, refuse_all_requests);
  int exit_code = 0;
  const auto ended = [&](std::exception_ptr error) {
    if (error) exit_code = 1;
  };
  boost::asio::co_spawn(context, mirror(*endpoint, address, argv[1], acceptor, exit_code), ended);
  boost::asio::co_spawn(context, serve(acceptor, exit_code), ended);
  context.run();
  return exit_code;
}
