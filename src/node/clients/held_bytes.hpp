// What is held in memory for clients, counted against one limit.
#pragma once

#include <atomic>
#include <cstdint>

namespace crosslink::node {

/// Of all holders together. Thread safe.
class ByteBudget {
 public:
  explicit ByteBudget(std::uint64_t max) : max_(max) {}
  /// All or nothing. False: it would be more than the limit.
  bool take(std::uint64_t bytes) {
    auto held = held_.load();
    do {
      if (bytes > max_ || held > max_ - bytes) return false;
    } while (!held_.compare_exchange_weak(held, held + bytes));
    return true;
  }
  void give_back(std::uint64_t bytes) { held_ -= bytes; }
  std::uint64_t held() const { return held_; }
  std::uint64_t max() const { return max_; }

 private:
  const std::uint64_t max_;
  std::atomic<std::uint64_t> held_ = 0;
};

/// One holder's part of a budget, given back when it goes. Used by one thread at a time.
class HeldBytes {
 public:
  /// So much of each holder is not counted: what is held in all is at most the budget and this for each holder.
  static constexpr std::uint64_t uncounted_max = 64 * 1024;

  /// `budget`: null: nothing is counted. It must outlive this.
  explicit HeldBytes(ByteBudget* budget = nullptr) : budget_(budget) {}
  ~HeldBytes() { static_cast<void>(set(0)); }
  HeldBytes(const HeldBytes&) = delete;
  HeldBytes& operator=(const HeldBytes&) = delete;
  HeldBytes(HeldBytes&& other) noexcept : budget_(other.budget_), counted_(other.counted_) { other.counted_ = 0; }
  HeldBytes& operator=(HeldBytes&& other) noexcept {
    if (this == &other) return *this;
    static_cast<void>(set(0));
    budget_ = other.budget_;
    counted_ = other.counted_;
    other.counted_ = 0;
    return *this;
  }

  /// So much is held now. False: that is more than there is room for, and what was counted before stays. Less is always
  /// right.
  bool set(std::uint64_t bytes) {
    if (budget_ == nullptr) return true;
    const auto wanted = bytes > uncounted_max ? bytes : 0;
    if (wanted > counted_ && !budget_->take(wanted - counted_)) return false;
    if (wanted < counted_) budget_->give_back(counted_ - wanted);
    counted_ = wanted;
    return true;
  }

 private:
  ByteBudget* budget_;
  std::uint64_t counted_ = 0;
};

}  // namespace crosslink::node
