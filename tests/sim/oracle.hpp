// What is true, kept apart from the product: a tree of commits with plain maps, and which commit stands at which LSN of
// which database's log. Nothing here uses the product's engines, codecs or machines.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/world.hpp"

namespace crosslink::sim {

/// A value; copies share it.
class Value {
 public:
  Value() : text_(std::make_shared<const std::string>()) {}
  explicit Value(std::string text) : text_(std::make_shared<const std::string>(std::move(text))) {}
  const std::string& text() const { return *text_; }
  friend bool operator==(const Value& a, const Value& b) { return a.text_ == b.text_ || *a.text_ == *b.text_; }

 private:
  std::shared_ptr<const std::string> text_;
};
using Contents = std::map<std::string, Value>;

/// The key that every entry writes, with a value that no other entry ever has.
inline const std::string marker_key = "#";

struct PlainOperation {
  enum class Kind : std::uint8_t { put, erase, erase_range } kind = Kind::put;
  std::string key, value;
  std::optional<std::string> end;
};

/// One commit: what it made of its parent's contents.
struct Node {
  std::string marker;
  const Node* parent = nullptr;
  std::uint64_t depth = 0;
  Time committed_at{0};
  Contents contents;
};

/// The log of one database as the oracle knows it: (incarnation, LSN) names the commits that ever stood there.
class Oracle {
 public:
  Oracle();
  const Node* root() const { return nodes_.front().get(); }
  /// A commit by a client on top of `parent`.
  const Node* commit(const Node* parent, const std::vector<PlainOperation>& operations, const std::string& marker,
                     Time now);
  const Node* by_marker(const std::string& marker) const;
  static bool is_ancestor_or_self(const Node* ancestor, const Node* of);

  using Log = std::string;  ///< database and incarnation
  void stands_at(const Log& log, std::uint64_t lsn, const Node* node);
  /// Does a database whose position is `lsn` of this log hold exactly what `node` stands for?
  bool holds(const Log& log, std::uint64_t lsn, const Node* node) const;

  static void apply(Contents& contents, const PlainOperation& operation);

 private:
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<std::string, const Node*> by_marker_;
  std::map<Log, std::map<std::uint64_t, std::set<const Node*>>> logs_;
};

}  // namespace crosslink::sim
