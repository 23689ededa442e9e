// Commands that read many keys. They go on in slices, so that they hold up nobody and end once nobody waits for them.
#pragma once

#include <memory>

#include "link/slices.hpp"
#include "node/database_list.hpp"
#include "node/write_run.hpp"

namespace crosslink::node {

/// One such command under way. It sees the database as it was when it began, but for MGET and EXISTS.
class LongRead {
 public:
  virtual ~LongRead() = default;
  /// Goes on by at least one key, until `clock` is over; puts its answer, or an error, into `reply`, where nothing else
  /// is put meanwhile. True: it is done. Blocks.
  virtual bool go_on(link::SliceClock& clock, RespReply& reply) = 0;
};

/// Does it read more than a few keys?
bool reads_many_keys(const PlacedCommand& placed);
/// Precondition: reads_many_keys(). The words of `placed`, and the database, must outlive it.
std::unique_ptr<LongRead> begin_long_read(HostedDatabase& database, const PlacedCommand& placed);

}  // namespace crosslink::node
