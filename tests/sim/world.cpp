#include "sim/world.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace crosslink::sim {

void World::after(Time delay, std::function<void()> what) { events_.emplace(now_ + delay, std::move(what)); }

bool World::run_until(Time until, const std::function<void()>& after_each) {
  while (!events_.empty() && events_.begin()->first <= until) {
    auto event = events_.extract(events_.begin());
    now_ = event.key();
    event.mapped()();
    ++tally.steps;
    after_each();
  }
  now_ = until;
  return !events_.empty();
}

void World::tell(const std::string& line) {
  constexpr std::size_t lines_max = 60;
  auto stamped = fmt::format("{:12.6f}  {}", static_cast<double>(now_.count()) / 1e6, line);
  if (tell_) std::puts(stamped.c_str());
  history_.push_back(std::move(stamped));
  if (history_.size() > lines_max) history_.pop_front();
}

}  // namespace crosslink::sim
