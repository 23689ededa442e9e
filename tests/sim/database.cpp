#include "sim/database.hpp"

#include <fmt/format.h>

namespace crosslink::sim {
namespace {

constexpr std::uint64_t keys = 40;
const std::string big_key = "big";  // before all others, so that no range takes it
std::string key_of(std::uint64_t number) { return fmt::format("k{:02}", number); }

}  // namespace

Database::Database(World& world, Oracle& oracle, std::string name, const MemoryOptions& options,
                   std::unique_ptr<MemoryDatabase> engine)
    : world_(&world), oracle_(&oracle), name_(std::move(name)), options_(options), engine_(std::move(engine)) {}

Contents Database::contents() {
  Contents contents;
  const auto view = engine_->view();
  if (!view) throw Violation(name_ + " cannot be read: " + view.error().message());
  const auto scanned = (*view)->scan({}, std::nullopt, [&](const KeyValue& pair) {
    contents.emplace(pair.key, Value(std::string(pair.value)));
    return true;
  });
  if (!scanned) throw Violation(name_ + " cannot be read: " + scanned.error().message());
  return contents;
}

const Node* Database::node() {
  if (node_ != nullptr) return node_;
  const auto held = contents();
  const auto marker = held.find(marker_key);
  const auto* found = oracle_->by_marker(marker == held.end() ? std::string{} : marker->second.text());
  if (found == nullptr) throw Violation(name_ + " holds a marker that was never written");
  if (found->contents != held)
    throw Violation(name_ + " does not hold what stands for the commit it holds: " + found->marker);
  node_ = found;
  return found;
}

std::optional<Lsn> Database::commit(std::size_t big_bytes) {
  const auto* parent = node();
  std::vector<PlainOperation> plain;
  const auto count = 1 + world_->below(4);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto kind = world_->below(10);
    const auto first = world_->below(keys);
    if (kind < 7) {
      plain.push_back({PlainOperation::Kind::put, key_of(first), fmt::format("v{}", world_->random()()), {}});
    } else if (kind < 9) {
      plain.push_back({PlainOperation::Kind::erase, key_of(first), {}, {}});
    } else {
      // Never over the marker, which sorts before all keys.
      const auto last = first + 1 + world_->below(5);
      plain.push_back({PlainOperation::Kind::erase_range,
                       key_of(first),
                       {},
                       last >= keys ? std::nullopt : std::optional(key_of(last))});
    }
  }
  if (big_bytes > 0) {
    plain.push_back({PlainOperation::Kind::put, big_key, std::string(big_bytes, 'x'), {}});
  } else if (parent->contents.contains(big_key)) {
    plain.push_back({PlainOperation::Kind::erase, big_key, {}, {}});
  }
  const auto marker = fmt::format("{}-{}", name_, world_->tally.commits + 1);
  plain.push_back({PlainOperation::Kind::put, marker_key, marker, {}});
  std::vector<Operation> operations;
  for (const auto& operation : plain) {
    switch (operation.kind) {
      case PlainOperation::Kind::put: operations.push_back(Operation::put(operation.key, operation.value)); break;
      case PlainOperation::Kind::erase: operations.push_back(Operation::erase(operation.key)); break;
      case PlainOperation::Kind::erase_range:
        operations.push_back(Operation::erase_range(
            operation.key, operation.end ? std::optional<std::string_view>(*operation.end) : std::nullopt));
    }
  }
  const auto lsn = engine_->commit(operations);
  if (!lsn) {
    world_->tell(fmt::format("{}: a commit is refused: {}", name_, lsn.error().message()));
    return std::nullopt;
  }
  ++world_->tally.commits;
  changed();
  const auto* node = oracle_->commit(parent, plain, marker, world_->now());
  oracle_->stands_at(log(), lsn->value, node);
  return *lsn;
}

void Database::note_standing() {
  changed();
  oracle_->stands_at(log(), engine_->source_state().head.value, node());
}

}  // namespace crosslink::sim
