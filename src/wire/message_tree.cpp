#include "wire/message_tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <msgpack.hpp>

#include "wire/pack_sink.hpp"
#include "wire/utf8.hpp"

namespace crosslink::core {
namespace {

/// Builds the tree; says false at the first token that may not be there, which ends the parse.
class TreeVisitor : public msgpack::null_visitor {
 public:
  bool visit_nil() { return put(Unwanted{}); }
  bool visit_boolean(bool v) { return put(v); }
  bool visit_positive_integer(std::uint64_t v) { return put(v); }
  bool visit_negative_integer(std::int64_t v) {
    // The parser names the wire's form, not the value: 5 in a signed form comes here too.
    if (v < 0) return put(Unwanted{});
    return put(static_cast<std::uint64_t>(v));
  }
  bool visit_float32(float) { return put(Unwanted{}); }
  bool visit_float64(double) { return put(Unwanted{}); }
  bool visit_ext(const char*, std::uint32_t) { return put(Unwanted{}); }
  bool visit_bin(const char* v, std::uint32_t size) { return put(Binary{std::string(v, size)}); }
  bool visit_str(const char* v, std::uint32_t size) {
    const std::string_view text(v, size);
    if (!is_utf8(text)) return refuse("a text is not UTF-8");
    if (!in_key_) return put(std::string(text));
    key_ = text;
    return true;
  }
  bool start_map(std::uint32_t fields) {
    if (fields > tree_fields_max) return refuse("too many fields");
    return open(TreeMap{});
  }
  bool end_map() { return close(); }
  bool start_array(std::uint32_t size) {
    if (size > tree_values_max) return refuse("a list is too long");
    return open(TreeList{});
  }
  bool end_array() { return close(); }
  bool start_map_key() {
    in_key_ = true;
    key_.reset();
    return true;
  }
  bool end_map_key() {
    in_key_ = false;
    return key_ ? true : refuse("a field's name is no text");
  }
  void parse_error(std::size_t, std::size_t) { refuse("it is no MessagePack"); }
  void insufficient_bytes(std::size_t, std::size_t) { refuse("it is cut short"); }

  Tree take() { return std::move(root_); }
  const std::string& refusal() const { return refusal_; }

 private:
  template <class T>
  bool put(T value) {
    if (in_key_) return refuse("a field's name is no text");
    if (open_.empty()) return refuse("it is no map");
    return place({std::move(value)}) != nullptr;
  }
  Tree* place(Tree tree) {
    if (++values_ > tree_values_max) {
      refuse("it holds too many values");
      return nullptr;
    }
    auto& parent = open_.back()->value;
    if (auto* list = std::get_if<TreeList>(&parent)) return &list->emplace_back(std::move(tree));
    return &std::get<TreeMap>(parent).emplace_back(TreeField{std::move(*key_), std::move(tree)}).value;
  }
  template <class T>
  bool open(T container) {
    if (in_key_) return refuse("a field's name is no text");
    if (open_.size() == tree_depth_max) return refuse("it is nested too deeply");
    if (open_.empty()) {
      root_.value = std::move(container);
      open_.push_back(&root_);
      return std::holds_alternative<TreeMap>(root_.value) ? true : refuse("it is no map");
    }
    // A parent's list may move its elements, but only while none of them is open.
    auto* placed = place({std::move(container)});
    if (placed == nullptr) return false;
    open_.push_back(placed);
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  bool refuse(const char* why) {
    if (refusal_.empty()) refusal_ = why;
    return false;
  }

  Tree root_;
  std::vector<Tree*> open_;
  std::optional<std::string> key_;
  bool in_key_ = false;
  std::size_t values_ = 0;
  std::string refusal_;
};

using Packer = msgpack::packer<PackSink>;

void pack(Packer& packer, const TreeMap& map);

void pack(Packer& packer, const Tree& tree) {
  if (const auto* flag = std::get_if<bool>(&tree.value)) packer.pack(*flag);
  if (const auto* number = std::get_if<std::uint64_t>(&tree.value)) packer.pack(*number);
  if (const auto* text = std::get_if<std::string>(&tree.value)) packer.pack(*text);
  if (const auto* binary = std::get_if<Binary>(&tree.value)) {
    packer.pack_bin(static_cast<std::uint32_t>(binary->bytes.size()));
    packer.pack_bin_body(binary->bytes.data(), static_cast<std::uint32_t>(binary->bytes.size()));
  }
  if (const auto* list = std::get_if<TreeList>(&tree.value)) {
    packer.pack_array(static_cast<std::uint32_t>(list->size()));
    for (const auto& element : *list)
      pack(packer, element);
  }
  if (const auto* map = std::get_if<TreeMap>(&tree.value)) pack(packer, *map);
  if (std::holds_alternative<Unwanted>(tree.value)) packer.pack_nil();
}

void pack(Packer& packer, const TreeMap& map) {
  packer.pack_map(static_cast<std::uint32_t>(map.size()));
  for (const auto& [name, value] : map) {
    packer.pack(name);
    pack(packer, value);
  }
}

}  // namespace

Result<ReadTree> read_tree(std::span<const std::byte> payload) {
  const auto refuse = [](std::string_view why) {
    return MirrorError::protocol_violation(fmt::format("a frame cannot be read: {}", why));
  };
  if (payload.empty()) return refuse("it is empty");
  TreeVisitor visitor;
  std::size_t offset = 0;
  const bool whole = msgpack::parse(reinterpret_cast<const char*>(payload.data()), payload.size(), offset, visitor);
  if (!visitor.refusal().empty()) return refuse(visitor.refusal());
  if (!whole) return refuse("it is cut short");
  auto tree = visitor.take();
  auto* map = std::get_if<TreeMap>(&tree.value);
  if (map == nullptr) return refuse("it is no map");
  return ReadTree{std::move(*map), offset};
}

void write_tree(std::vector<std::byte>& out, const TreeMap& map) {
  PackSink sink{out};
  Packer packer(sink);
  pack(packer, map);
}

// --- FieldReader -----------------------------------------------------------------------------------------------------

FieldReader::FieldReader(const TreeMap& map, std::string_view message) : map_(&map), message_(message) {
  for (std::size_t i = 0; i < map.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (map[i].name == map[j].name) wrong(fmt::format("the field {} is there twice", escape(map[i].name, 64)));
    }
  }
}

void FieldReader::wrong(std::string why) {
  if (!error_) error_ = MirrorError::protocol_violation(fmt::format("a {} cannot be read: {}", message_, why));
}

const Tree* FieldReader::find(std::string_view name) const {
  const auto found = std::ranges::find_if(*map_, [&](const auto& field) { return field.name == name; });
  return found == map_->end() ? nullptr : &found->value;
}

template <class T>
const T* FieldReader::wanted(std::string_view name, bool optional) {
  const auto* tree = find(name);
  if (tree == nullptr) {
    if (!optional) wrong(fmt::format("the field {} is missing", name));
    return nullptr;
  }
  const auto* value = std::get_if<T>(&tree->value);
  if (value == nullptr) wrong(fmt::format("the field {} has the wrong type", name));
  return value;
}

std::uint64_t FieldReader::u64(std::string_view name, std::uint64_t max) {
  const auto* value = wanted<std::uint64_t>(name, false);
  if (value == nullptr) return 0;
  if (*value > max) wrong(fmt::format("the field {} is too large", name));
  return *value;
}

std::optional<std::uint64_t> FieldReader::optional_u64(std::string_view name) {
  const auto* value = wanted<std::uint64_t>(name, true);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

bool FieldReader::boolean(std::string_view name) {
  const auto* value = wanted<bool>(name, false);
  return value != nullptr && *value;
}

std::string FieldReader::text(std::string_view name, std::size_t bytes_max) {
  const auto* value = wanted<std::string>(name, false);
  if (value == nullptr) return {};
  if (value->size() > bytes_max) wrong(fmt::format("the field {} is too long", name));
  return *value;
}

std::optional<std::array<std::byte, 16>> FieldReader::optional_bytes16(std::string_view name) {
  const auto* value = wanted<Binary>(name, true);
  if (value == nullptr) return std::nullopt;
  std::array<std::byte, 16> bytes{};
  if (value->bytes.size() != bytes.size()) {
    wrong(fmt::format("the field {} is not of 16 bytes", name));
    return std::nullopt;
  }
  std::ranges::copy(std::as_bytes(std::span(value->bytes)), bytes.begin());
  return bytes;
}

std::array<std::byte, 16> FieldReader::bytes16(std::string_view name) {
  if (!has(name)) wrong(fmt::format("the field {} is missing", name));
  return optional_bytes16(name).value_or(std::array<std::byte, 16>{});
}

std::optional<std::string> FieldReader::optional_key(std::string_view name) {
  const auto* value = wanted<Binary>(name, true);
  return value == nullptr ? std::nullopt : std::optional(value->bytes);
}

const TreeList* FieldReader::list(std::string_view name, std::size_t count_max) {
  const auto* value = wanted<TreeList>(name, true);
  if (value != nullptr && value->size() > count_max) wrong(fmt::format("the field {} holds too many", name));
  return error_ ? nullptr : value;
}

const TreeMap* FieldReader::map(std::string_view name) { return wanted<TreeMap>(name, true); }

std::vector<std::string> FieldReader::texts(std::string_view name, std::size_t count_max) {
  std::vector<std::string> all;
  const auto* values = list(name, count_max);
  if (values == nullptr) {
    wrong(fmt::format("the field {} is missing", name));
    return all;
  }
  for (const auto& element : *values) {
    const auto* value = std::get_if<std::string>(&element.value);
    if (value == nullptr || value->size() > tree_text_bytes_max) {
      wrong(fmt::format("an element of {} is no text, or too long", name));
      return all;
    }
    all.push_back(*value);
  }
  return all;
}

std::vector<std::string> FieldReader::keys(std::string_view name, std::size_t count_max) {
  if (!has(name)) {
    wrong(fmt::format("the field {} is missing", name));
    return {};
  }
  return optional_keys(name, count_max);
}

std::vector<std::string> FieldReader::optional_keys(std::string_view name, std::size_t count_max) {
  std::vector<std::string> all;
  const auto* values = list(name, count_max);
  if (values == nullptr) return all;
  for (const auto& element : *values) {
    const auto* value = std::get_if<Binary>(&element.value);
    if (value == nullptr) {
      wrong(fmt::format("an element of {} is no key", name));
      return all;
    }
    all.push_back(value->bytes);
  }
  return all;
}

std::vector<std::array<std::byte, 16>> FieldReader::list_of_bytes16(std::string_view name, std::size_t count_max) {
  std::vector<std::array<std::byte, 16>> all;
  for (const auto& bytes : keys(name, count_max)) {
    auto& one = all.emplace_back();
    if (bytes.size() != one.size()) {
      wrong(fmt::format("an element of {} is not of 16 bytes", name));
      return all;
    }
    std::ranges::copy(std::as_bytes(std::span(bytes)), one.begin());
  }
  return all;
}

}  // namespace crosslink::core
