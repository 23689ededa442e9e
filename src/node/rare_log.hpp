// A log line about what many may cause as often as they like: one in a while, with how often it happened.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "node/log.hpp"

namespace crosslink::node {

/// On one thread.
class RareLog {
 public:
  static constexpr std::chrono::seconds every{10};
  explicit RareLog(std::string_view message) : message_(message) {}
  /// What happens now is logged, and not only counted.
  bool is_due() const {
    return last_ == std::chrono::steady_clock::time_point() || std::chrono::steady_clock::now() - last_ >= every;
  }
  void happened(std::vector<LogField> fields, std::uint64_t times = 1) {
    times_ += times;
    if (!is_due()) return;
    last_ = std::chrono::steady_clock::now();
    fields.emplace_back("times", std::to_string(times_));
    times_ = 0;
    log(Severity::warning, message_, fields);
  }

 private:
  const std::string_view message_;
  std::uint64_t times_ = 0;  ///< since the last line
  std::chrono::steady_clock::time_point last_;
};

}  // namespace crosslink::node
