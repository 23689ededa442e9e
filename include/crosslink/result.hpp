// Result<T>: a value or a MirrorError. Nodiscard, so that dropping a result (or the co_await of one) is a warning, and
// warnings are errors here. std::expected of g++ 12 is neither nodiscard nor complete, hence a class of our own.
#pragma once

#include <cstdlib>
#include <optional>
#include <utility>
#include <variant>

#include "crosslink/error.hpp"

namespace crosslink {

/// Not thread safe, as its T. Copyable where T is.
template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(MirrorError error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  /// The value. Calling it on an error is a bug of the caller and aborts in every build type.
  T& value() & {
    check(0);
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    check(0);
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    check(0);
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  /// The error. Calling it on a value is a bug of the caller and aborts.
  const MirrorError& error() const {
    check(1);
    return *std::get_if<1>(&state_);
  }

 private:
  void check(std::size_t index) const {
    if (state_.index() != index) std::abort();
  }
  std::variant<T, MirrorError> state_;
};

/// Default constructed: it went well.
template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(MirrorError error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const MirrorError& error() const {
    if (!error_) std::abort();
    return *error_;
  }

 private:
  std::optional<MirrorError> error_;
};

}  // namespace crosslink
