#include "wire/message_pack.hpp"

#include <fmt/format.h>

#include <msgpack.hpp>

#include "wire/pack_sink.hpp"
#include "wire/utf8.hpp"

namespace crosslink::core {
namespace {

constexpr std::size_t depth_max = 8;

/// Told each token by the parser; says false at the first that may not be there, which ends the parse. Keeps only the
/// fields of the outer map, so a hostile count takes no memory.
class MapVisitor : public msgpack::null_visitor {
 public:
  MapVisitor(std::size_t fields_max, bool skip_containers)
      : fields_max_(fields_max), skip_containers_(skip_containers) {}

  bool visit_nil() { return value(Other{}); }
  bool visit_boolean(bool v) { return value(v); }
  bool visit_positive_integer(std::uint64_t v) { return value(v); }
  bool visit_negative_integer(std::int64_t v) {
    // The parser names the wire's form, not the value: 5 in a signed form comes here too.
    return v >= 0 ? value(static_cast<std::uint64_t>(v)) : value(Other{});
  }
  bool visit_float32(float) { return value(Other{}); }
  bool visit_float64(double) { return value(Other{}); }
  bool visit_bin(const char*, std::uint32_t) { return value(Other{}); }
  bool visit_ext(const char*, std::uint32_t) { return value(Other{}); }
  bool visit_str(const char* v, std::uint32_t size) {
    const std::string_view text(v, size);
    if (depth_ != 1) return value(Other{});
    if (!is_utf8(text)) return refuse("a text is not UTF-8");
    if (!in_key_) return value(std::string(text));
    if (fields_.size() == fields_max_) return refuse("too many fields");
    fields_.emplace_back(std::string(text), Other{});
    return true;
  }
  bool start_map(std::uint32_t) {
    if (depth_ == 0) {
      ++depth_;
      return true;
    }
    return enter();
  }
  bool end_map() { return leave(); }
  bool start_array(std::uint32_t) { return depth_ == 0 ? refuse("it is no map") : enter(); }
  bool end_array() { return leave(); }
  bool start_map_key() {
    if (depth_ == 1) in_key_ = true;
    return true;
  }
  bool end_map_key() {
    if (depth_ == 1) in_key_ = false;
    return true;
  }
  void parse_error(std::size_t, std::size_t) { refuse("it is no MessagePack"); }
  void insufficient_bytes(std::size_t, std::size_t) { refuse("it is cut short"); }

  Fields take() { return std::move(fields_); }
  const std::string& refusal() const { return refusal_; }

 private:
  bool value(FieldValue v) {
    if (depth_ == 0) return refuse("it is no map");
    if (depth_ > 1) return true;
    if (in_key_) return refuse("a field's name is no text");
    fields_.back().second = std::move(v);
    return true;
  }
  bool enter() {
    if (!skip_containers_ || in_key_) return refuse("a field holds a list or a map");
    if (depth_ == depth_max) return refuse("it is nested too deeply");
    ++depth_;
    return true;
  }
  bool leave() {
    --depth_;
    return true;
  }
  bool refuse(const char* why) {
    if (refusal_.empty()) refusal_ = why;
    return false;
  }

  std::size_t fields_max_;
  bool skip_containers_;
  std::size_t depth_ = 0;
  bool in_key_ = false;
  Fields fields_;
  std::string refusal_;
};

}  // namespace

Result<Fields> decode_map(std::span<const std::byte> payload, std::size_t fields_max, bool skip_containers,
                          ErrorKind kind) {
  const auto refuse = [kind](std::string_view why) {
    return MirrorError(kind, CausedBy::peer, fmt::format("the message cannot be read: {}", why));
  };
  if (payload.empty()) return refuse("it is empty");
  MapVisitor visitor(fields_max, skip_containers);
  std::size_t offset = 0;
  const bool whole = msgpack::parse(reinterpret_cast<const char*>(payload.data()), payload.size(), offset, visitor);
  if (!visitor.refusal().empty()) return refuse(visitor.refusal());
  if (!whole) return refuse("it is cut short");
  return visitor.take();
}

std::vector<std::byte> encode_map(const Fields& fields) {
  std::vector<std::byte> bytes;
  PackSink sink{bytes};
  msgpack::packer<PackSink> packer(sink);
  packer.pack_map(static_cast<std::uint32_t>(fields.size()));
  for (const auto& [name, value] : fields) {
    packer.pack(name);
    if (const auto* flag = std::get_if<bool>(&value)) packer.pack(*flag);
    if (const auto* number = std::get_if<std::uint64_t>(&value)) packer.pack(*number);
    if (const auto* text = std::get_if<std::string>(&value)) packer.pack(*text);
    if (std::holds_alternative<Other>(value)) packer.pack_nil();
  }
  return bytes;
}

}  // namespace crosslink::core
