// The order of the log at a mirror: no gap, nothing twice, nothing that falls. docs/protocol.md, "Order", "Fragments".
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "crosslink/entry.hpp"
#include "wire/session_frames.hpp"

namespace crosslink::core {

/// Entries that were accepted and wait to be applied.
struct AcceptedBatch {
  Lsn prev_lsn, last_lsn;
  std::uint64_t count = 0;
  std::shared_ptr<const void> keep;     ///< keeps `entries` readable
  std::span<const std::byte> entries;   ///< whole encodings, checked
  std::optional<EntryId> last_entry;    ///< absent when count is 0
  std::optional<Lsn> origin_lsn;        ///< absent: last_lsn
  std::uint64_t units = 0;              ///< throttle units this batch holds until it is applied
  std::uint64_t fragment_bytes = 0;     ///< memory of an entry that came in fragments, whose units are released already
  std::vector<LeaseGrant> leases = {};  ///< told before it
};

/// Where the fragments of one entry go until it is whole. One entry at a time.
class FragmentStore {
 public:
  virtual ~FragmentStore() = default;
  virtual Result<void> begin(std::uint64_t total_bytes) = 0;  ///< drops what was there. Errors: Storage
  virtual Result<void> append(std::span<const std::byte> bytes) = 0;
  struct Whole {
    std::shared_ptr<const void> keep;
    std::span<const std::byte> bytes;
  };
  virtual Result<Whole> take() = 0;
  virtual void drop() = 0;
};
/// In memory. Never more than begin() announced, and only as bytes arrive.
class MemoryFragmentStore : public FragmentStore {
 public:
  Result<void> begin(std::uint64_t total_bytes) override;
  Result<void> append(std::span<const std::byte> bytes) override;
  Result<Whole> take() override;
  void drop() override;

 private:
  std::shared_ptr<std::vector<std::byte>> bytes_;
};

class LogOrder {
 public:
  LogOrder(Lsn from, std::uint64_t entry_bytes_max, FragmentStore& fragments)
      : last_lsn_(from), entry_bytes_max_(entry_bytes_max), fragments_(&fragments) {}

  /// `raw` is the data after decompression, kept alive by `keep`. Errors (peer): ProtocolViolation.
  Result<AcceptedBatch> on_batch(const LogBatch& head, std::shared_ptr<const void> keep,
                                 std::span<const std::byte> raw);
  struct Fragment {
    std::optional<AcceptedBatch> whole;  ///< with the last fragment
  };
  /// Errors (peer): ProtocolViolation; (local): Storage.
  Result<Fragment> on_fragment(const EntryFragment& head, std::span<const std::byte> data);
  /// The last LSN accepted.
  Lsn last_lsn() const { return last_lsn_; }
  bool in_the_middle() const { return open_.has_value(); }

 private:
  struct Open {
    Lsn prev_lsn, lsn;
    std::uint64_t offset = 0, total_bytes = 0;
  };
  Result<void> check_continues(Lsn prev, Lsn last) const;
  Result<void> open_or_continue(const EntryFragment& head, std::size_t bytes);
  Lsn last_lsn_;
  std::uint64_t entry_bytes_max_;
  FragmentStore* fragments_;
  std::optional<Open> open_;
};

/// The first entries of a batch up to `limit`, and the rest. Precondition: prev_lsn <= limit < last_lsn.
std::pair<AcceptedBatch, AcceptedBatch> cut_batch(AcceptedBatch batch, Lsn limit);

}  // namespace crosslink::core
