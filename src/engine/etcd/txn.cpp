#include "engine/etcd/txn.hpp"

#include <fmt/format.h>

#include <utility>

namespace crosslink::etcd {

std::size_t change_bytes(const Change& change) {
  return change.key.size() + (change.value ? change.value->size() : 0) + operation_bytes;
}

void Fold::set(std::string key, Last last) {
  last.weight = {1, operation_bytes + key.size() + (last.value ? last.value->size() : 0)};
  if (beside_) last.weight += beside_(key, last.lease);
  auto& place = changes_[std::move(key)];
  weight_ -= place.weight;
  weight_ += last.weight;
  place = std::move(last);
}

Result<void> Fold::add(const Operation& operation, const KeySpace& keys, const KeysIn& keys_in) {
  if (operation.kind != OperationKind::erase_range) {
    auto key = keys.own(operation.key);
    if (!key) return key.error();
    Last last;
    if (operation.kind == OperationKind::put) last = {std::string(operation.value), operation.lease.value_or(0)};
    set(*std::move(key), std::move(last));
    return {};
  }
  const auto range = keys.own_range(operation.key, operation.end);
  if (!range) return {};
  const auto there = keys_in(*range);
  if (!there) return there.error();
  for (auto at = changes_.lower_bound(range->key); at != changes_.end(); ++at) {
    if (range->range_end != no_end && at->first >= range->range_end) break;
    set(at->first, {});
  }
  for (const auto& key : *there) {
    if (keys.contains(key)) set(key, {});
  }
  return {};
}

void Fold::merge(Fold&& later) {
  if (changes_.empty()) {
    *this = std::move(later);
    return;
  }
  while (!later.changes_.empty()) {
    const auto merged = changes_.insert(later.changes_.extract(later.changes_.begin()));
    weight_ += merged.inserted ? merged.position->second.weight : merged.node.mapped().weight;
    if (merged.inserted) continue;
    weight_ -= merged.position->second.weight;
    merged.position->second = std::move(merged.node.mapped());
  }
}

std::vector<Change> Fold::take() {
  std::vector<Change> all;
  all.reserve(changes_.size());
  while (!changes_.empty()) {
    auto node = changes_.extract(changes_.begin());
    all.push_back({std::move(node.key()), std::move(node.mapped().value), node.mapped().lease});
  }
  weight_ = {};
  return all;
}

wire::RequestOperation put_operation(std::string key, std::string value, std::int64_t lease) {
  wire::RequestOperation operation;
  auto& put = *operation.mutable_put();
  put.set_key(std::move(key));
  put.set_value(std::move(value));
  put.set_lease(lease);
  return operation;
}

wire::RequestOperation erase_operation(std::string key) {
  wire::RequestOperation operation;
  operation.mutable_delete_range()->set_key(std::move(key));
  return operation;
}

wire::RequestOperation erase_below(const std::string& prefix) {
  wire::RequestOperation operation;
  operation.mutable_delete_range()->set_key(prefix);
  operation.mutable_delete_range()->set_range_end(prefix_end(prefix));
  return operation;
}

const wire::PutRequest* largest_put(const wire::TxnRequest& request) {
  const wire::PutRequest* largest = nullptr;
  for (const auto& one : request.success()) {
    const auto* const put = one.has_txn() ? largest_put(one.txn()) : one.has_put() ? &one.put() : nullptr;
    if (put != nullptr && (largest == nullptr || put->value().size() > largest->value().size())) largest = put;
  }
  return largest;
}

bool is_too_large(const MirrorError& error) {
  return error.kind() == ErrorKind::UnsupportedOperation && error.message().find("large") != std::string::npos;
}

MirrorError explain_too_large(const MirrorError& error, std::string_view key, std::size_t value_bytes, Lsn lsn) {
  if (!is_too_large(error)) return error;
  return error.with_context(
      fmt::format("the target does not take what comes with LSN {}, whose largest value is of {} bytes, at \"{}\"; its "
                  "--max-request-bytes may have to be raised",
                  lsn.value, value_bytes, escape(key, 200)));
}

void TxnBuilder::compare_mod_revision(const std::string& key, std::int64_t revision) {
  auto& compare = *request_.add_compare();
  compare.set_relation(wire::Compare::EQUAL);
  compare.set_target(wire::Compare::MOD);
  compare.set_key(key);
  compare.set_mod_revision(revision);
}

void TxnBuilder::put(std::string key, std::string value, std::int64_t lease) {
  bytes_ += key.size() + value.size() + operation_bytes;
  operations_.push_back(put_operation(std::move(key), std::move(value), lease));
}

void TxnBuilder::erase(std::string key) {
  bytes_ += key.size() + operation_bytes;
  operations_.push_back(erase_operation(std::move(key)));
}

wire::TxnRequest TxnBuilder::build(std::vector<wire::RequestOperation> beside) {
  const bool flat = operations_.size() + beside.size() <= level_operations_max;
  wire::TxnRequest* level = nullptr;
  for (auto& operation : operations_) {
    if (!flat && (level == nullptr || level->success_size() == static_cast<int>(level_operations_max)))
      level = request_.add_success()->mutable_txn();
    auto* const into = flat ? request_.add_success() : level->add_success();
    into->Swap(&operation);
  }
  for (auto& operation : beside)
    request_.add_success()->Swap(&operation);
  operations_.clear();
  bytes_ = 0;
  return std::move(request_);
}

}  // namespace crosslink::etcd
