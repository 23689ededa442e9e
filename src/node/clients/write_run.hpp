// Commands of one connection that write, and what they answer.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "crosslink/position.hpp"
#include "crosslink/types.hpp"
#include "node/clients/command_table.hpp"

namespace crosslink::node {

class Watch;
struct HeldWrites;

struct PlacedCommand {
  const Command* command;
  Words words;
};

/// Commands of one connection, in order.
struct WriteRun {
  explicit WriteRun(RespReply empty) : reply(std::move(empty)) {}

  std::vector<PlacedCommand> commands;
  bool transaction = false;      ///< EXEC: one array of replies; nothing at all if `watch` was touched
  std::shared_ptr<Watch> watch;  ///< may be null
  /// Why a command that reads must not be answered just now, as an error reply; empty: it may. Null: it always may.
  std::function<std::string()> why_stale;

  // Set when it was carried out.
  RespReply reply;
  Lsn lsn;                  ///< of the last commit that writes of it are in; 0: it wrote nothing
  Incarnation incarnation;  ///< that this LSN is of
  struct Answer {
    std::size_t begin;  ///< in `reply`
    bool wrote;
  };
  std::vector<Answer> answers;  ///< one for each command; of a transaction one

  /// Does an answer from this one on say that something was written?
  bool wrote(std::size_t first_answer = 0) const;
  /// How many of its answers say that something was written.
  std::size_t answers_of_writes() const;
  /// Every answer, given or not, becomes this error.
  void fail(std::string_view error);
  /// Every answer from this one on becomes this error, and says of no write.
  void fail_from(std::size_t first_answer, std::string_view error);
  /// Every answer that says something was written becomes this error.
  void fail_writes(std::string_view error);
};

/// One that was carried out, and what is to be called once its answers may be sent.
struct AnsweredRun {
  WriteRun* run;
  std::function<void()> done;
};

/// What the gate of sync mode holds of it. Where mirrors do not confirm its writes they are answered NOSYNC.
HeldWrites held_writes(AnsweredRun answered);

}  // namespace crosslink::node
