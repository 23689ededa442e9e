#include "node/pending_writes.hpp"

#include <utility>

namespace crosslink::node {

void PendingWrites::write(std::string_view key, Operation operation) {
  const auto [place, is_new] = by_key_.try_emplace(key, operations_.size());
  bytes_ += operation.value.size();
  ++writes_made_;
  if (is_new) {
    bytes_ += key.size() + 16;
    operations_.push_back(operation);
    return;
  }
  bytes_ -= operations_[place->second].value.size();
  operations_[place->second] = operation;
}

void PendingWrites::clear() {
  ++writes_made_;
  by_key_.clear();
  operations_.clear();
  operations_.push_back(Operation::erase_range("", std::nullopt));
  cleared_ = true;
  bytes_ = 16;
}

void PendingWrites::forget() {
  by_key_.clear();
  operations_.clear();
  texts_.clear();
  cleared_ = false;
  bytes_ = 0;
}

Result<std::optional<std::string>> PendingWrites::read(std::string_view key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    if (cleared_) return std::optional<std::string>{};
    auto value = committed_->get(key);
    if (auto error = committed_->take_error()) return *std::move(error);
    return value;
  }
  const auto& operation = operations_[found->second];
  if (operation.kind == OperationKind::erase) return std::optional<std::string>{};
  return std::optional(std::string(operation.value));
}

}  // namespace crosslink::node
