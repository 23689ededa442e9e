// XXH3-128 and CRC-32C, by the libraries that do them well.
#include <isa-l/crc.h>
#include <xxhash.h>

#include <cstring>
#include <new>

#include "crosslink/entry.hpp"
#include "wire/varint.hpp"

namespace crosslink {
namespace {

constexpr std::size_t commit_time_bytes = 8;  // first in an entry, and not hashed

EntryHash canonical(XXH128_hash_t hash) {
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, hash);
  EntryHash result;
  static_assert(sizeof(bytes.digest) == sizeof(result.bytes));
  std::memcpy(result.bytes.data(), bytes.digest, sizeof(bytes.digest));
  return result;
}

}  // namespace

EntryHash EntryView::hash() const { return canonical(XXH3_128bits(hashed_.data(), hashed_.size())); }

EntryHash entry_hash(std::span<const std::byte> encoding) {
  std::uint64_t body_bytes = 0;
  static_cast<void>(core::read_varint(encoding, body_bytes));
  const auto hashed = encoding.subspan(commit_time_bytes);
  return canonical(XXH3_128bits(hashed.data(), hashed.size()));
}

struct PairDigest::State {
  XXH3_state_t* hash = XXH3_createState();
  std::vector<std::byte> length;
};

PairDigest::PairDigest() : state_(new State) {
  if (state_->hash == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(state_->hash);
}

PairDigest::~PairDigest() {
  XXH3_freeState(state_->hash);
  delete state_;
}

void PairDigest::add(std::string_view key, std::string_view value) {
  for (const auto text : {key, value}) {
    state_->length.clear();
    core::append_varint(state_->length, text.size());
    XXH3_128bits_update(state_->hash, state_->length.data(), state_->length.size());
    XXH3_128bits_update(state_->hash, text.data(), text.size());
  }
  const std::byte no_lease{0};
  XXH3_128bits_update(state_->hash, &no_lease, 1);
}

EntryHash PairDigest::digest() const { return canonical(XXH3_128bits_digest(state_->hash)); }

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before) {
  // The library takes an int for a length, and leaves the inversions to its caller.
  constexpr std::size_t piece_max = 1U << 30U;
  auto crc = ~before;
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min(bytes.size(), piece_max));
    auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(piece.data()));  // it only reads
    crc = crc32_iscsi(data, static_cast<int>(piece.size()), crc);
    bytes = bytes.subspan(piece.size());
  }
  return ~crc;
}

}  // namespace crosslink
