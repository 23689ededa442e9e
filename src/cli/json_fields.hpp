// Fields of what a node answers. A node may be older, newer or broken: what is absent or of another type is unknown.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crosslink/types.hpp"

namespace crosslink::cli {

inline std::optional<double> real(const boost::json::object& object, std::string_view field) {
  const auto* value = object.if_contains(field);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return value->to_number<double>();
}

/// Absent for anything that is no whole number from 0 on.
inline std::optional<std::uint64_t> number(const boost::json::object& object, std::string_view field) {
  const auto* value = object.if_contains(field);
  if (value == nullptr) return std::nullopt;
  boost::system::error_code error;
  const auto result = value->to_number<std::uint64_t>(error);
  if (error) return std::nullopt;
  return result;
}

/// Fit for a terminal; empty when unknown.
inline std::string text(const boost::json::object& object, std::string_view field, std::size_t bytes_max = 512) {
  const auto* value = object.if_contains(field);
  if (value == nullptr || !value->is_string()) return {};
  return printable({value->get_string().data(), value->get_string().size()}, bytes_max);
}

inline bool flag(const boost::json::object& object, std::string_view field) {
  const auto* value = object.if_contains(field);
  return value != nullptr && value->is_bool() && value->get_bool();
}

/// Unknown below zero and beyond 100 years, too.
inline std::optional<std::chrono::microseconds> milliseconds_field(const boost::json::object& object,
                                                                   std::string_view field) {
  constexpr double max = 100.0 * 366 * 86400 * 1000;
  const auto value = real(object, field);
  if (!value || !(*value >= 0 && *value <= max)) return std::nullopt;
  return std::chrono::microseconds(std::llround(*value * 1000));
}

/// Null when unknown.
inline const boost::json::object* object_field(const boost::json::object& object, std::string_view field) {
  const auto* value = object.if_contains(field);
  return value == nullptr ? nullptr : value->if_object();
}

/// Empty when unknown.
inline const boost::json::array& array_field(const boost::json::object& object, std::string_view field) {
  static const boost::json::array none;
  const auto* value = object.if_contains(field);
  const auto* array = value == nullptr ? nullptr : value->if_array();
  return array == nullptr ? none : *array;
}

}  // namespace crosslink::cli
