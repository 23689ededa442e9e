// A link that loses its source and finds it again: schedule_reconnect and note_progress.
//
//   (certificates as for 01)
//   03_reconnect_after_a_cut certs
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <iostream>
#include <memory>
#include <string>

#include "crosslink/link.hpp"
#include "crosslink/source.hpp"

using namespace crosslink;

quic::TlsFiles files(const std::string& folder, const std::string& name) {
  return {folder + "/ca.pem", folder + "/" + name + ".pem", folder + "/" + name + ".key"};
}

// A source at a port, running beside the mirror until it is stopped.
struct Source {
  Source(boost::asio::io_context& context, quic::Listener listener) {
    SourcePolicy policy;
    policy.cluster_id = ClusterId("prod-us");
    policy.authorize = [](std::span<const std::string>, const DatabaseId&) { return true; };
    policy.database_exists = [](const DatabaseId&) { return true; };
    acceptor = std::make_unique<MirrorAcceptor>(std::move(listener), policy, AcceptorLimits{}, refuse_all_requests);
    boost::asio::co_spawn(context, serve(*acceptor), [](std::exception_ptr error) {
      if (error) std::rethrow_exception(error);
    });
  }
  static awaitable<void> serve(MirrorAcceptor& acceptor) {
    auto end = co_await acceptor.run();
    if (!end) std::cerr << end.error().message() << "\n";
  }
  std::unique_ptr<MirrorAcceptor> acceptor;
};

// Returns the first thing that went wrong, or nothing.
Task<void> follow(boost::asio::io_context& context, quic::Endpoint endpoint, std::string folder) {
  quic::ServerConfig at_source;
  at_source.tls = files(folder, "prod-us");
  auto listener = endpoint.listen({boost::asio::ip::make_address("127.0.0.1"), 0}, at_source);
  if (!listener) co_return listener.error();
  const auto address = listener->local_address();
  Source first(context, std::move(*listener));

  quic::ClientConfig at_mirror;
  at_mirror.tls = files(folder, "eu-1");
  CrossClusterLink link(ClusterId("prod-us"), DatabaseId("orders"), "127.0.0.1:" + std::to_string(address.port()),
                        endpoint, at_mirror);
  auto ack = co_await link.connect(Lsn{100});
  if (!ack) co_return ack.error();
  std::cout << "connected\n";

  // A session says so when data is safe at the mirror: only that makes the next wait short again.
  link.note_progress();

  // The source goes away. The mirror learns it at once, here because it was told; a killed source by silence.
  auto connection = link.connection();
  first.acceptor->stop();
  auto lost = co_await connection->closed();
  if (!lost) co_return lost.error();
  std::cout << "lost: " << to_string(connection->end_reason()->caused_by()) << " closed the connection\n";

  // It comes back at the same address, and the link finds it: wait, dial, shake hands.
  auto again = endpoint.listen(address, at_source);
  if (!again) co_return again.error();
  Source second(context, std::move(*again));
  ack = co_await link.schedule_reconnect(Lsn{142});
  if (!ack) co_return ack.error();
  std::cout << "reconnected, " << link.retry_facts().reconnects << " reconnect\n";

  link.close();
  second.acceptor->stop();
  co_return Result<void>{};
}

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: 03_reconnect_after_a_cut CERTS_FOLDER\n";
    return 2;
  }
  boost::asio::io_context context(1);
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return 1;
  int exit_code = 1;
  auto work = [](Task<void> following, int& code) -> awaitable<void> {
    auto end = co_await std::move(following);
    if (!end) std::cerr << to_string(end.error().kind()) << ": " << end.error().message() << "\n";
    code = end ? 0 : 1;
  };
  boost::asio::co_spawn(context, work(follow(context, *endpoint, argv[1]), exit_code), [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
  context.run();
  return exit_code;
}
