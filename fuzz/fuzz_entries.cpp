// Entries and pairs: what can be read is written again as the same bytes.
//
// Input: [u8: odd for pairs][encodings]
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "crosslink/entry.hpp"
#include "require.hpp"

namespace crosslink::fuzz {
namespace {

void entries(std::span<const std::byte> bytes) {
  for (;;) {
    const auto before = bytes;
    const auto entry = read_entry(bytes);
    if (!entry) {
      require(bytes.data() == before.data() && bytes.size() == before.size(), "a refused entry is not taken");
      return;
    }
    std::vector<std::byte> again;
    encode_entry(again, entry->lsn(), entry->commit_time_us(), entry->operations());
    require(std::ranges::equal(again, entry->encoding()), "an entry has one encoding");
    require(encoded_entry_bytes(entry->lsn(), entry->operations()) == again.size(), "its length is foretold");
    const auto hash = entry->hash();
    set_entry_lsn(again, Lsn{entry->lsn().value == 1 ? 2 : entry->lsn().value - 1});
    std::span<const std::byte> rest = again;
    const auto moved = read_entry(rest);
    require(moved.ok() && moved->hash() != hash, "another LSN is another hash");
  }
}

void pairs(std::span<const std::byte> bytes) {
  for (;;) {
    const auto before = bytes;
    const auto pair = read_pair(bytes, 1024 * 1024);
    if (!pair || !*pair) {
      require(bytes.data() == before.data() && bytes.size() == before.size(), "a refused pair is not taken");
      return;
    }
    std::vector<std::byte> again;
    encode_pair(again, **pair);
    require(std::ranges::equal(again, before.first(before.size() - bytes.size())), "a pair has one encoding");
    require(encoded_pair_bytes(**pair) == again.size(), "its length is foretold");
  }
}

}  // namespace
}  // namespace crosslink::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto rest = std::as_bytes(std::span(data, size)).subspan(1);
  (data[0] & 1) != 0 ? crosslink::fuzz::pairs(rest) : crosslink::fuzz::entries(rest);
  return 0;
}
