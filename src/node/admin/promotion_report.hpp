// A promotion, asked for and told of: in a dry run, and once it was made.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <optional>
#include <string>

#include "crosslink/mirror.hpp"
#include "node/admin/admin_routes.hpp"
#include "node/hosting/mirror_spec.hpp"

namespace crosslink::node {

struct PromotionRequest {
  bool dry_run = false;
  PromotionOptions options;
};

/// Errors: Configuration that names the field.
Result<PromotionRequest> read_promotion(const boost::json::object& body);

/// What a promotion would give, or gave. `linked`: there was a link when it was asked for.
boost::json::object promotion_report(const std::string& name, const MirrorSpec& spec, const MirrorFacts& facts,
                                     const std::optional<std::chrono::microseconds>& lag, bool linked);

/// Of a dry run, which judges what is now as the promotion would judge what is then: the refusal, if it is one.
std::optional<AdminResponse> too_old(const PromotionOptions& options, const MirrorStatus& status);

}  // namespace crosslink::node
