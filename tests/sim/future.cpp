#include "sim/future.hpp"

#include <span>
#include <string>
#include <utility>

#include "wire/message_tree.hpp"
#include "wire/session_frames.hpp"

namespace crosslink::sim {

std::vector<std::byte> as_a_later_version(std::uint8_t kind, std::vector<std::byte> payload) {
  using namespace core;
  const auto decoded = decode_message(kind, payload);
  if (!decoded) return payload;
  const auto all = std::span<const std::byte>(payload);
  const auto map_bytes = is_bulk_kind(kind) ? decoded->data_at : payload.size();
  auto tree = read_tree(all.first(map_bytes));
  if (!tree) throw Violation("a frame that can be read is no map");
  auto fields = std::move(tree->map);
  constexpr std::uint64_t future_feature = 1ull << 40;
  for (auto& [name, value] : fields) {
    if (name == "features") value = Tree{std::get<std::uint64_t>(value.value) | future_feature};
  }
  fields.insert(fields.begin(), {"a_new_field", {std::string("of a later version")}});
  fields.push_back({"another", {TreeList{{std::uint64_t{1}}, {TreeMap{{"nested", {true}}}}}}});
  std::vector<std::byte> written;
  write_tree(written, fields);
  written.insert(written.end(), all.begin() + static_cast<std::ptrdiff_t>(map_bytes), all.end());
  return written;
}

std::uint8_t skippable_kind(World& world) { return static_cast<std::uint8_t>(0x80 + world.below(0x40)); }

std::shared_ptr<const std::vector<std::byte>> unreadable_payload(World& world) {
  return std::make_shared<const std::vector<std::byte>>(world.below(100), std::byte{0xc1});
}

}  // namespace crosslink::sim
