#include "node/hosting/hosted_mirror.hpp"

#include <fmt/format.h>

#include <utility>

#include "node/log.hpp"

namespace crosslink::node {
namespace {

constexpr auto rate_window = std::chrono::seconds(5);
/// As long as an owner that was killed keeps the others out.
constexpr auto gives_way_after = std::chrono::seconds(10);

Severity severity_of(StatusKind kind) {
  switch (kind) {
    case StatusKind::Bootstrapping:
    case StatusKind::Following:
    case StatusKind::Paused:
    case StatusKind::Promoted: return Severity::info;
    case StatusKind::Degraded:
    case StatusKind::Disconnected: return Severity::warning;
    case StatusKind::Halted: return Severity::error;
  }
  return Severity::error;
}

}  // namespace

HostedMirror::HostedMirror(const std::string& name, MirrorSpec spec, std::unique_ptr<Mirror> mirror)
    : name_(name), mirror_(std::move(mirror)), spec_(std::move(spec)) {}

MirrorSpec HostedMirror::spec() const {
  const std::scoped_lock lock(mutex_);
  return spec_;
}

void HostedMirror::set_spec(MirrorSpec spec) {
  const std::scoped_lock lock(mutex_);
  spec_ = std::move(spec);
}

void HostedMirror::look() {
  const auto status = mirror_->status();
  const auto facts = mirror_->facts();
  const auto now = std::chrono::steady_clock::now();
  const std::scoped_lock lock(mutex_);
  samples_.push_back({now, facts.received_bytes});
  while (samples_.size() > 2 && now - samples_[1].at >= rate_window)
    samples_.pop_front();
  auto error = facts.last_error ? std::optional(facts.last_error->message()) : std::nullopt;
  if (seen_ == status.kind && seen_error_ == error) return;
  if (seen_ != status.kind) status_since_ = now;
  std::vector<LogField> fields{{"mirror", name_},
                               {"source", spec_.source_name()},
                               {"status", std::string(to_string(status.kind))},
                               {"reason", status.reason}};
  if (error && error != seen_error_) {
    fields.emplace_back("error", std::string(to_string(facts.last_error->kind())));
    fields.emplace_back("message", *error);
  }
  if (seen_ != status.kind || error) log(severity_of(status.kind), "mirror status", fields);
  seen_ = status.kind;
  seen_error_ = std::move(error);
}

std::optional<std::uint64_t> HostedMirror::rate_bytes_per_s() const {
  const std::scoped_lock lock(mutex_);
  if (samples_.size() < 2) return std::nullopt;
  const auto& first = samples_.front();
  const auto& last = samples_.back();
  const auto took = std::chrono::duration<double>(last.at - first.at).count();
  if (took < 0.1) return std::nullopt;
  return static_cast<std::uint64_t>(static_cast<double>(last.received_bytes - first.received_bytes) / took);
}

std::chrono::milliseconds HostedMirror::status_age() const {
  const std::scoped_lock lock(mutex_);
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - status_since_);
}

bool HostedMirror::gives_way() const {
  const std::scoped_lock lock(mutex_);
  if (seen_ == StatusKind::Paused) return true;
  return seen_ == StatusKind::Disconnected && std::chrono::steady_clock::now() - status_since_ >= gives_way_after;
}

void HostedMirror::note_verify(VerifyResult result) {
  const std::scoped_lock lock(mutex_);
  last_verify_ = LastVerify{std::move(result), std::chrono::system_clock::now(), replication::session_now()};
}

std::optional<LastVerify> HostedMirror::last_verify() const {
  const std::scoped_lock lock(mutex_);
  return last_verify_;
}

void HostedMirror::add_max_lag(std::chrono::milliseconds max_lag) {
  const std::scoped_lock lock(mutex_);
  max_lags_.insert(max_lag);
  mirror_->set_max_lag(*max_lags_.begin());
}

void HostedMirror::remove_max_lag(std::chrono::milliseconds max_lag) {
  const std::scoped_lock lock(mutex_);
  if (const auto found = max_lags_.find(max_lag); found != max_lags_.end()) max_lags_.erase(found);
  mirror_->set_max_lag(max_lags_.empty() ? std::nullopt : std::optional(*max_lags_.begin()));
}

}  // namespace crosslink::node
