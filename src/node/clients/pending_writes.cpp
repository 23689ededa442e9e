#include "node/clients/pending_writes.hpp"

#include <utility>

namespace crosslink::node {

std::size_t PendingWrites::write(std::string_view key, Operation operation) {
  const auto [place, is_new] = by_key_.try_emplace(key, operations_.size());
  bytes_ += operation.value.size();
  ++writes_made_;
  if (is_new) {
    bytes_ += key.size() + operation_bytes;
    operations_.push_back(operation);
    return place->second;
  }
  bytes_ -= operations_[place->second].value.size();
  operations_[place->second] = operation;
  texts_.erase(place->second);
  return place->second;
}

void PendingWrites::put_text(std::string_view key, std::string value) {
  const auto at = write(key, Operation::put(key, {}));
  const auto& text = texts_[at] = std::move(value);
  operations_[at].value = text;
  bytes_ += text.size();
}

std::string* PendingWrites::text(std::string_view key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  const auto text = texts_.find(found->second);
  return text == texts_.end() ? nullptr : &text->second;
}

void PendingWrites::note_changed(std::string_view key) {
  const auto at = by_key_.at(key);
  auto& operation = operations_[at];
  bytes_ -= operation.value.size();
  operation.value = texts_.at(at);
  bytes_ += operation.value.size();
  ++writes_made_;
}

void PendingWrites::clear() {
  ++writes_made_;
  forget();
  operations_.push_back(Operation::erase_range("", std::nullopt));
  cleared_ = true;
  bytes_ = operation_bytes;
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
