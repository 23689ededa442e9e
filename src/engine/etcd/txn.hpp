// A mirror's writes: operations folded to the last one of each key, packed into transactions that etcd takes.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/etcd/keys.hpp"

namespace crosslink::etcd {

/// What becomes of one key of the target.
struct Change {
  std::string key;
  std::optional<std::string> value;  ///< absent: deleted
  std::uint64_t lease = 0;           ///< that it had at the source
};

/// etcd takes 128 operations on one level, and one level below it as many as are left: 64 times 64.
inline constexpr std::size_t level_operations_max = 64;
/// Of one transaction: the position, and full levels below it.
inline constexpr std::size_t txn_operations_max = (level_operations_max - 2) * level_operations_max;
/// etcd's default limit is 1.5 MiB with everything around; a single value may be larger if the target allows it.
inline constexpr std::size_t txn_bytes_max = std::size_t{1300} * 1024;

/// Of an operation in a request, beside key and value.
inline constexpr std::size_t operation_bytes = 24;
/// About how many bytes an operation takes in a request.
std::size_t change_bytes(const Change& change);
/// What a transaction takes up, or a part of it.
struct Weight {
  std::size_t operations = 0, bytes = 0;
  Weight& operator+=(const Weight& other) {
    operations += other.operations;
    bytes += other.bytes;
    return *this;
  }
  Weight& operator-=(const Weight& other) {
    operations -= other.operations;
    bytes -= other.bytes;
    return *this;
  }
};

/// The last operation of each key, in key order.
class Fold {
 public:
  /// `keys_in` lists the target's keys in a range: a range is a deletion of each. Errors: of keys_in, and
  /// KeySpace::own.
  using KeysIn = std::function<Result<std::vector<std::string>>(const KeySpace::OwnRange& range)>;
  /// What goes with a change of a key into its transaction, beside it.
  using Beside = std::function<Weight(std::string_view key, std::uint64_t lease)>;
  explicit Fold(Beside beside = {}) : beside_(std::move(beside)) {}
  Result<void> add(const Operation& operation, const KeySpace& keys, const KeysIn& keys_in);
  void merge(Fold&& later);
  std::size_t size() const { return changes_.size(); }
  const Weight& weight() const { return weight_; }
  bool empty() const { return changes_.empty(); }
  std::vector<Change> take();

 private:
  struct Last {
    std::optional<std::string> value;
    std::uint64_t lease = 0;
    Weight weight = {};
  };
  void set(std::string key, Last last);
  std::map<std::string, Last, std::less<>> changes_;
  Beside beside_;
  Weight weight_;
};

/// Operations in a transaction, nested once there are too many for one level.
class TxnBuilder {
 public:
  void compare_mod_revision(const std::string& key, std::int64_t revision);
  void put(std::string key, std::string value, std::int64_t lease = 0);
  void erase(std::string key);
  std::size_t size() const { return operations_.size(); }
  std::size_t bytes() const { return bytes_; }
  /// `beside`: stays on the first level.
  wire::TxnRequest build(std::vector<wire::RequestOperation> beside = {});

 private:
  wire::TxnRequest request_;
  std::vector<wire::RequestOperation> operations_;
  std::size_t bytes_ = 0;
};

wire::RequestOperation put_operation(std::string key, std::string value, std::int64_t lease = 0);
wire::RequestOperation erase_operation(std::string key);
/// All keys that begin with it.
wire::RequestOperation erase_below(const std::string& prefix);
/// The put of the longest value; null when nothing is put.
const wire::PutRequest* largest_put(const wire::TxnRequest& request);

/// The target found a request too large.
bool is_too_large(const MirrorError& error);
/// `error` of a request that the target found too large, with what it is about; any other error as it is.
MirrorError explain_too_large(const MirrorError& error, std::string_view key, std::size_t value_bytes, Lsn lsn);

}  // namespace crosslink::etcd
