#include "sim/oracle.hpp"

#include <iterator>

namespace crosslink::sim {

Oracle::Oracle() { nodes_.push_back(std::make_unique<Node>()); }

void Oracle::apply(Contents& contents, const PlainOperation& operation) {
  switch (operation.kind) {
    case PlainOperation::Kind::put: contents[operation.key] = Value(operation.value); return;
    case PlainOperation::Kind::erase: contents.erase(operation.key); return;
    case PlainOperation::Kind::erase_range:
      contents.erase(contents.lower_bound(operation.key),
                     operation.end ? contents.lower_bound(*operation.end) : contents.end());
  }
}

const Node* Oracle::commit(const Node* parent, const std::vector<PlainOperation>& operations, const std::string& marker,
                           Time now) {
  auto node = std::make_unique<Node>(Node{marker, parent, parent->depth + 1, now, parent->contents});
  for (const auto& operation : operations)
    apply(node->contents, operation);
  by_marker_[marker] = node.get();
  nodes_.push_back(std::move(node));
  return nodes_.back().get();
}

const Node* Oracle::by_marker(const std::string& marker) const {
  if (marker.empty()) return root();
  const auto found = by_marker_.find(marker);
  return found == by_marker_.end() ? nullptr : found->second;
}

bool Oracle::is_ancestor_or_self(const Node* ancestor, const Node* of) {
  while (of != nullptr && of->depth > ancestor->depth)
    of = of->parent;
  return of == ancestor;
}

void Oracle::stands_at(const Log& log, std::uint64_t lsn, const Node* node) { logs_[log][lsn].insert(node); }

bool Oracle::holds(const Log& log, std::uint64_t lsn, const Node* node) const {
  const auto found = logs_.find(log);
  if (found == logs_.end()) return false;
  const auto after = found->second.upper_bound(lsn);
  return after != found->second.begin() && std::prev(after)->second.contains(node);
}

}  // namespace crosslink::sim
