// Clients that try passwords wait for it, counted by address.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>

namespace crosslink::node {

/// On one thread.
class PasswordDoor {
 public:
  using Clock = std::chrono::steady_clock;
  /// Wrong ones of an address that cost nothing; then all its attempts come one after another, this far apart.
  static constexpr std::uint32_t free_tries = 10;
  static constexpr std::chrono::milliseconds step{200};
  /// An attempt that would have to wait longer is refused: so few connections wait for each address.
  static constexpr std::chrono::milliseconds wait_max{2'000};
  /// An address that tried no wrong one for so long is forgotten; of more addresses the longest quiet one is.
  static constexpr std::chrono::seconds forgotten_after{60};
  static constexpr std::size_t addresses_max = 4096;

  /// An attempt: how long it has to wait before anybody looks at its password. Absent: it is refused.
  std::optional<Clock::duration> come(const boost::asio::ip::address& from, Clock::time_point now);
  /// It was wrong.
  void on_wrong(const boost::asio::ip::address& from, Clock::time_point now);
  std::size_t addresses() const { return by_name_.size(); }

 private:
  struct Address {
    std::string name;
    std::uint32_t wrong = 0;
    Clock::time_point last_wrong, next;
  };
  void forget(Clock::time_point now);
  std::list<Address> by_age_;  ///< the longest quiet first
  std::map<std::string, std::list<Address>::iterator> by_name_;
};

}  // namespace crosslink::node
