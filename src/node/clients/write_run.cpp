#include "node/clients/write_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "node/hosting/sync_gate.hpp"

namespace crosslink::node {

bool WriteRun::wrote(std::size_t first_answer) const {
  return std::any_of(answers.begin() + static_cast<std::ptrdiff_t>(first_answer), answers.end(),
                     [](const Answer& answer) { return answer.wrote; });
}

std::size_t WriteRun::answers_of_writes() const {
  return static_cast<std::size_t>(std::ranges::count_if(answers, &Answer::wrote));
}

void WriteRun::fail(std::string_view error) {
  const auto replies = transaction ? 1 : commands.size();
  reply.cut(0);
  for (std::size_t i = 0; i < replies; ++i)
    reply.error(error);
}

void WriteRun::fail_from(std::size_t first_answer, std::string_view error) {
  if (first_answer >= answers.size()) return;
  reply.cut(answers[first_answer].begin);
  for (std::size_t i = first_answer; i < answers.size(); ++i) {
    answers[i] = {reply.bytes().size(), false};
    reply.error(error);
  }
}

void WriteRun::fail_writes(std::string_view error) {
  RespReply told(reply.version());
  const auto& said = reply.bytes();
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto end = i + 1 < answers.size() ? answers[i + 1].begin : said.size();
    if (answers[i].wrote) {
      told.error(error);
    } else {
      told.append(std::string_view(said).substr(answers[i].begin, end - answers[i].begin));
    }
  }
  reply = std::move(told);
}

HeldWrites held_writes(AnsweredRun answered) {
  const auto writes = answered.run->answers_of_writes();
  return {writes, [own = std::move(answered)](const Unconfirmed* unconfirmed) {
            if (unconfirmed != nullptr) {
              own.run->fail_writes(fmt::format("NOSYNC stored at LSN {}, not confirmed by {}", unconfirmed->lsn.value,
                                               unconfirmed->missing));
            }
            own.done();
          }};
}

}  // namespace crosslink::node
