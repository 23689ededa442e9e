// What a disk has no room for.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>

namespace crosslink::etcd {

/// Something that the disk has no room for, in words: told once when it begins, and shown as long as it lasts. Thread
/// safe.
class Shortage {
 public:
  explicit Shortage(std::function<void(const std::string&)> tell) : tell_(std::move(tell)) {}
  void begin(std::string what) {
    const std::scoped_lock lock(mutex_);
    if (text_.empty() && tell_) tell_(what);
    text_ = std::move(what);
  }
  void end() {
    const std::scoped_lock lock(mutex_);
    text_.clear();
  }
  /// Empty: there is none.
  std::string text() const {
    const std::scoped_lock lock(mutex_);
    return text_;
  }

 private:
  const std::function<void(const std::string&)> tell_;
  mutable std::mutex mutex_;
  std::string text_;
};

}  // namespace crosslink::etcd
