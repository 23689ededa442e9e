// Commands that read many keys. They go on in slices, so that they hold up no other client and end
// once their own has left.
#pragma once

#include <memory>

#include "async/slices.hpp"
#include "node/clients/write_run.hpp"

namespace crosslink::node {

class ClientDatabase;

/// One such command under way. It sees the database as it was when it began, but for MGET and EXISTS.
class LongRead {
 public:
  virtual ~LongRead() = default;
  /// Goes on by at least one key, until `clock` is over; puts its answer, or an error, into `reply`, where nothing else
  /// is put meanwhile. True: it is done. Blocks.
  virtual bool go_on(async::SliceClock& clock, RespReply& reply) = 0;
};

/// Does it read more than a few keys?
bool reads_many_keys(const PlacedCommand& placed);
/// Precondition: reads_many_keys(). The words of `placed`, and the database, must outlive it.
std::unique_ptr<LongRead> begin_long_read(ClientDatabase& database, const PlacedCommand& placed);

}  // namespace crosslink::node
