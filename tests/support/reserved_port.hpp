// A port for a server of a test that is started later, or by another process.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>

namespace crosslink::test {

/// A port of 127.0.0.1 that was free when it was made, for TCP and UDP, and that no other test is given while this
/// object lives. Below the range from which the kernel picks ports, so that it is not taken by chance. The reservation
/// is an abstract Unix socket, gone with the process; cli_support.py reserves by the same names.
class ReservedPort {
 public:
  ReservedPort() {
    std::random_device random;
    for (int tries = 0; tries < 10'000; ++tries) {
      number_ = static_cast<std::uint16_t>(std::uniform_int_distribution<>(10'000, 32'000)(random));
      if (reserve() && is_free(SOCK_STREAM) && is_free(SOCK_DGRAM)) return;
      release();
    }
    throw std::runtime_error("no free port");
  }
  ~ReservedPort() { release(); }
  ReservedPort(ReservedPort&& other) noexcept
      : number_(other.number_), reservation_(std::exchange(other.reservation_, -1)) {}
  ReservedPort& operator=(ReservedPort&&) = delete;

  std::uint16_t number() const { return number_; }

 private:
  bool reserve() {
    reservation_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto name = "crosslink-test-port-" + std::to_string(number_);
    std::memcpy(&address.sun_path[1], name.data(), name.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    return ::bind(reservation_, reinterpret_cast<const sockaddr*>(&address), size) == 0;
  }
  bool is_free(int type) const {
    const int socket = ::socket(AF_INET, type | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(number_);
    const bool bound = ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(socket);
    return bound;
  }
  void release() {
    if (reservation_ >= 0) ::close(std::exchange(reservation_, -1));
  }
  std::uint16_t number_ = 0;
  int reservation_ = -1;
};

}  // namespace crosslink::test
