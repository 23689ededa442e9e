#include "quic/name_lookup.hpp"

#include <fmt/format.h>
#include <netdb.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "async/waiter.hpp"

namespace crosslink::quic {
namespace detail {
namespace {

struct Lookup {
  std::mutex mutex;
  std::optional<Result<std::vector<Address>>> answer;
  async::WaitList waiters;
};

std::atomic<int> lookups_running = 0;

MirrorError unresolved(const std::string& host, std::string_view why) {
  return MirrorError::transport(
      TransportCause::unresolved,
      fmt::format("the name '{}' does not resolve: {}; check the spelling and the DNS", escape(host), why));
}

/// Nothing when no thread may or can be had.
bool start(const std::shared_ptr<Lookup>& lookup, HostPort host_port, BlockingLookup blocking) {
  if (lookups_running.fetch_add(1) >= lookups_max) {
    lookups_running.fetch_sub(1);
    return false;
  }
  auto work = [lookup, host_port = std::move(host_port), blocking = std::move(blocking)] {
    auto answer = blocking(host_port.host, host_port.port);
    lookups_running.fetch_sub(1);
    const std::scoped_lock lock(lookup->mutex);
    lookup->answer.emplace(std::move(answer));
    lookup->waiters.notify_all();
  };
  try {
    std::thread(std::move(work)).detach();
  } catch (const std::system_error&) {  // the system's limit of threads
    lookups_running.fetch_sub(1);
    return false;
  }
  return true;
}

}  // namespace

Result<std::vector<Address>> look_up_in_system(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_DGRAM;
  hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
  addrinfo* raw = nullptr;
  const int failed = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &raw);
  const int system_error = errno;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> answers(raw, &::freeaddrinfo);
  if (failed != 0) return unresolved(host, failed == EAI_SYSTEM ? std::strerror(system_error) : ::gai_strerror(failed));
  std::vector<Address> addresses;
  for (const auto* one = answers.get(); one != nullptr && addresses.size() < addresses_max; one = one->ai_next) {
    Address address;
    if (one->ai_addrlen > address.capacity()) continue;
    address.resize(one->ai_addrlen);
    std::memcpy(address.data(), one->ai_addr, one->ai_addrlen);
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  }
  if (addresses.empty()) return unresolved(host, "it has no address");
  return addresses;
}

Task<std::vector<Address>> resolve_with(HostPort host_port, BlockingLookup blocking) {
  boost::system::error_code no_literal;
  const auto literal = boost::asio::ip::make_address(host_port.host, no_literal);
  if (!no_literal) co_return std::vector{Address(literal, host_port.port)};
  const auto host = host_port.host;
  const auto lookup = std::make_shared<Lookup>();
  if (!start(lookup, std::move(host_port), std::move(blocking)))
    co_return unresolved(host, "too many lookups hang already");
  for (;;) {
    std::unique_lock lock(lookup->mutex);
    if (lookup->answer) co_return *lookup->answer;
    const bool woken = co_await lookup->waiters.wait(std::move(lock));
    if (!woken) co_return MirrorError::cancelled("resolving a name");
  }
}

}  // namespace detail

Task<std::vector<Address>> resolve_all(HostPort host_port) {
  return detail::resolve_with(std::move(host_port), &detail::look_up_in_system);
}

Task<Address> resolve(HostPort host_port) {
  auto addresses = co_await resolve_all(std::move(host_port));
  if (!addresses) co_return addresses.error();
  co_return addresses->front();
}

}  // namespace crosslink::quic
