// MessagePack maps with nested values, as session frames are: docs/protocol.md, "Forms". The flat maps of the handshake
// are read by message_pack.hpp, which is stricter.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "crosslink/result.hpp"

namespace crosslink::core {

inline constexpr std::size_t tree_fields_max = 64;
inline constexpr std::size_t tree_values_max = 1024;
inline constexpr std::size_t tree_depth_max = 4;
inline constexpr std::size_t tree_text_bytes_max = 512;

struct Tree;
struct TreeField;
using TreeList = std::vector<Tree>;
using TreeMap = std::vector<TreeField>;
/// Raw bytes, so that they are not taken for text.
struct Binary {
  std::string bytes;
};
/// What no message wants: nil, negative numbers, floats, extensions.
struct Unwanted {};
struct Tree {
  std::variant<Unwanted, bool, std::uint64_t, std::string, Binary, TreeList, TreeMap> value;
};
struct TreeField {
  std::string name;
  Tree value;
};

struct ReadTree {
  TreeMap map;
  std::size_t bytes = 0;  ///< how much of the payload the map takes
};
/// The map at the front of `payload`. Errors (peer), ProtocolViolation: no map, cut short, a limit passed, text that is
/// not UTF-8. Takes no more memory than a small multiple of the payload.
Result<ReadTree> read_tree(std::span<const std::byte> payload);
void write_tree(std::vector<std::byte>& out, const TreeMap& map);

/// Takes wanted fields out of a map. The first thing that is wrong is kept, everything after it yields empty values.
class FieldReader {
 public:
  FieldReader(const TreeMap& map, std::string_view message);

  std::uint64_t u64(std::string_view name, std::uint64_t max = UINT64_MAX);
  std::uint32_t u32(std::string_view name) { return static_cast<std::uint32_t>(u64(name, UINT32_MAX)); }
  std::optional<std::uint64_t> optional_u64(std::string_view name);
  bool boolean(std::string_view name);
  std::string text(std::string_view name, std::size_t bytes_max = tree_text_bytes_max);
  std::array<std::byte, 16> bytes16(std::string_view name);
  std::optional<std::array<std::byte, 16>> optional_bytes16(std::string_view name);
  std::optional<std::string> optional_key(std::string_view name);
  std::vector<std::string> texts(std::string_view name, std::size_t count_max);
  std::vector<std::string> keys(std::string_view name, std::size_t count_max);
  /// Empty when absent.
  std::vector<std::string> optional_keys(std::string_view name, std::size_t count_max);
  std::vector<std::array<std::byte, 16>> list_of_bytes16(std::string_view name, std::size_t count_max);
  /// Null when absent.
  const TreeList* list(std::string_view name, std::size_t count_max);
  const TreeMap* map(std::string_view name);
  bool has(std::string_view name) const { return find(name) != nullptr; }

  void wrong(std::string why);
  const std::optional<MirrorError>& error() const { return error_; }

 private:
  const Tree* find(std::string_view name) const;
  template <class T>
  const T* wanted(std::string_view name, bool optional);
  const TreeMap* map_;
  std::string_view message_;
  std::optional<MirrorError> error_;
};

}  // namespace crosslink::core
