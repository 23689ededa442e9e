// What commands read: the database, and for the committing thread what it has not committed yet.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "crosslink/entry.hpp"
#include "crosslink/result.hpp"

namespace crosslink::node {

/// Reads values by key. After an error every read is absent, and the error stays until it is taken.
class KeyReader {
 public:
  virtual ~KeyReader() = default;
  std::optional<std::string> get(std::string_view key) {
    if (error_) return std::nullopt;
    auto found = read(key);
    if (found) return *std::move(found);
    error_ = found.error();
    return std::nullopt;
  }
  bool failed() const { return error_.has_value(); }
  std::optional<MirrorError> take_error() { return std::exchange(error_, std::nullopt); }

 protected:
  virtual Result<std::optional<std::string>> read(std::string_view key) = 0;

 private:
  std::optional<MirrorError> error_;
};

/// Writes that will be one entry. A key that is written twice is one operation.
class PendingWrites final : public KeyReader {
 public:
  explicit PendingWrites(KeyReader& committed) : committed_(&committed) {}
  /// `key` and `value` must outlive the writes.
  void put(std::string_view key, std::string_view value) { write(key, Operation::put(key, value)); }
  void erase(std::string_view key) { write(key, Operation::erase(key)); }
  /// Everything.
  void clear();
  /// A value of no command's: it is kept here, once for each key, until it is written over. `key` must outlive the
  /// writes.
  void put_text(std::string_view key, std::string value);
  /// The value that put_text() keeps for the key, to be changed where it is; then call note_changed(). Null: the key's
  /// value is not kept here.
  std::string* text(std::string_view key);
  void note_changed(std::string_view key);

  bool writes(std::string_view key) const { return cleared_ || by_key_.contains(key); }
  std::span<const Operation> operations() const { return operations_; }
  /// Of what commit() would be given, about.
  std::size_t bytes() const { return bytes_; }
  /// How many writes there ever were: was there one in between?
  std::uint64_t writes_made() const { return writes_made_; }
  void forget();

 protected:
  Result<std::optional<std::string>> read(std::string_view key) override;

 private:
  static constexpr std::size_t operation_bytes = 16;
  std::size_t write(std::string_view key, Operation operation);
  KeyReader* const committed_;
  std::vector<Operation> operations_;
  std::unordered_map<std::string_view, std::size_t> by_key_;  ///< since all was cleared
  bool cleared_ = false;
  std::size_t bytes_ = 0;
  std::uint64_t writes_made_ = 0;
  std::unordered_map<std::size_t, std::string> texts_;  ///< by operation
};

}  // namespace crosslink::node
