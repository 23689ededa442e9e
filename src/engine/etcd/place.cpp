// A mirror's place in its target: what stands there, whose it is, and what of it may be deleted.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "engine/etcd/etcd_impl.hpp"

namespace crosslink {

using namespace etcd;

namespace {

constexpr char separator = '/';

/// The parts of [range) that are not crosslink's own.
std::vector<KeySpace::OwnRange> without_reserved(const KeySpace::OwnRange& range) {
  const std::string reserved(reserved_prefix);
  const auto after = prefix_end(reserved);
  const bool begins_before = range.key < reserved, ends_behind = range.range_end == no_end || range.range_end > after;
  if (!begins_before || !ends_behind) return {range};
  return {{range.key, reserved}, {after, range.range_end}};
}

/// How many keys there are, and the first of them.
Result<wire::RangeResponse> count(Client& client, const KeySpace::OwnRange& range, std::size_t shown_max) {
  wire::RangeRequest request;
  request.set_key(range.key);
  request.set_range_end(range.range_end);
  request.set_limit(static_cast<std::int64_t>(shown_max));
  request.set_keys_only(true);
  return client.range(request);
}

/// What begins with `prefix` as a word does with another, up to the next separator.
Result<std::vector<std::string>> neighbours_of(Client& client, const std::string& prefix) {
  std::vector<std::string> found;
  if (ends_in_separator(prefix)) return found;
  const auto end = prefix_end(prefix);
  const std::array skipped{prefix + separator, std::string(reserved_prefix)};
  for (auto from = prefix + '\0'; found.size() < EtcdSurvey::shown_max && from < end;) {
    const auto page = count(client, {from, end}, 1);
    if (!page) return page.error();
    if (page->kvs_size() == 0) break;
    const auto& key = page->kvs(0).key();
    const auto own = std::ranges::find_if(skipped, [&](const auto& one) { return key.starts_with(one); });
    if (own != skipped.end()) {
      from = prefix_end(*own);
      continue;
    }
    auto group = std::string(neighbour_of(prefix, key));
    from = group.back() == separator ? prefix_end(group) : key + '\0';
    found.push_back(std::move(group));
  }
  return found;
}

std::string listed(const std::vector<std::string>& keys) {
  std::vector<std::string> quoted;
  quoted.reserve(keys.size());
  for (const auto& key : keys)
    quoted.push_back(fmt::format("\"{}\"", escape(key, 200)));
  return fmt::format("{}", fmt::join(quoted, ", "));
}

std::string said_of(const std::string& prefix) {
  return prefix.empty() ? std::string("have no prefix in common")
                        : fmt::format("begin with \"{}\"", escape(prefix, 200));
}

}  // namespace

MirrorError EtcdDatabase::Impl::no_common_prefix() {
  return {ErrorKind::UnsupportedOperation, CausedBy::us,
          "the source's keys have no prefix in common: say with --prefix under which this etcd keeps them"};
}

Result<EtcdSurvey> EtcdDatabase::Impl::survey_at(const std::string& prefix) const {
  EtcdSurvey survey;
  survey.prefix = prefix;
  for (const auto& range : without_reserved(KeySpace{prefix, prefix, {}}.all())) {
    const auto page = count(*client, range, EtcdSurvey::shown_max);
    if (!page) return page.error();
    if (survey.revision == 0) survey.revision = page->header().revision();
    survey.keys += static_cast<std::uint64_t>(page->count());
    for (const auto& kv : page->kvs()) {
      if (survey.shown.size() < EtcdSurvey::shown_max) survey.shown.push_back(kv.key());
    }
  }
  auto neighbours = neighbours_of(*client, prefix);
  if (!neighbours) return neighbours.error();
  survey.neighbours = *std::move(neighbours);
  return survey;
}

Result<EtcdSurvey> EtcdDatabase::survey(const std::optional<std::string>& source_prefix) const {
  const auto found = impl_->look();
  if (!found) return found.error();
  const bool explained = found->record && Impl::explains(*found->record);
  auto prefix = impl_->options.prefix;
  if (explained) {
    prefix = found->record->prefix;
  } else if (!prefix && source_prefix && !source_prefix->empty()) {
    prefix = source_prefix;
  }
  if (!prefix && source_prefix) return Impl::no_common_prefix();
  if (!prefix)
    return MirrorError::configuration("what the source's keys begin with is not known, and so not where they would be");
  auto survey = impl_->survey_at(*prefix);
  if (!survey) return survey.error();
  survey->explained = explained;
  survey->owner = found->owner_node;
  if (found->record && found->record->role == DatabaseRole::promoted) survey->promoted_by = found->record->owner;
  return survey;
}

Result<void> EtcdDatabase::agree_to_deletions(std::int64_t revision) {
  const std::scoped_lock writing(impl_->write_mutex);
  return impl_->notes.write_agreement(revision);
}

std::int64_t EtcdDatabase::shown_deletions() const {
  const std::scoped_lock holding(impl_->mutex);
  return impl_->shown_deletions;
}

/// The place was fixed by the first bootstrap: a source that names another prefix would have it delete other keys.
Result<void> EtcdDatabase::Impl::check_prefixes(const SnapshotFacts& facts) const {
  if (!explains(record)) return {};
  if (facts.key_prefix == record.source_prefix && options.prefix.value_or(record.prefix) == record.prefix) return {};
  return MirrorError(
      ErrorKind::UnsupportedOperation, CausedBy::peer,
      fmt::format("the source said that its keys {} when this mirror was made, and says now that they {}: a mirror's "
                  "place is not moved; mend the source's prefix and resume, or make the mirror anew with --replace",
                  said_of(record.source_prefix), said_of(facts.key_prefix)));
}

/// Precondition: `keys` are where the snapshot is to be written; nothing is written yet.
Result<void> EtcdDatabase::Impl::check_deletions(const Pairs& pairs) {
  const bool explained = explains(record), all = !explained || pairs.count == 0;
  if (!all && ends_in_separator(keys.prefix)) return {};
  const auto agreed = notes.read_agreement();
  if (!agreed) return agreed.error();
  // A count is enough where no operator has agreed to anything.
  const auto found = all && *agreed == 0 ? survey_at(keys.prefix) : came_after(*agreed, all ? nullptr : &pairs);
  if (!found) return found.error();
  if (found->keys == 0) return {};
  {
    const std::scoped_lock holding(mutex);
    shown_deletions = found->revision;
  }
  const auto there = fmt::format("{} keys, such as {}{}", found->keys, listed(found->shown),
                                 *agreed > 0 ? ", which came after the deletions here were agreed to" : "");
  const auto how = fmt::format("crosslink resync {} --yes, if that is wanted", options.name);
  const auto refuse = [](CausedBy whose, std::string why) {
    return MirrorError(ErrorKind::UnsupportedOperation, whose, std::move(why));
  };
  if (!all) {
    return refuse(
        CausedBy::us,
        fmt::format("there are {}: they begin with \"{}\", as this mirror's keys do, and go on as another word; "
                    "the source has none like them, so they would be deleted; are they another program's? {}",
                    there, escape(keys.prefix, 200), how));
  }
  if (explained) {
    return refuse(CausedBy::peer,
                  fmt::format("the source has no key now, and this mirror has {}: all of them would be deleted; is it "
                              "the right source, with the right prefix? {}",
                              there, how));
  }
  const auto neighbours =
      found->neighbours.empty()
          ? std::string()
          : fmt::format("the prefix ends in no separator, so {} are below it as well; ", listed(found->neighbours));
  return refuse(
      CausedBy::us,
      fmt::format("there are {}, below \"{}\" in this etcd, and no record of this mirror says that they are its "
                  "own: those that the source does not have would be deleted; {}{}",
                  there, escape(keys.prefix, 200), neighbours, how));
}

}  // namespace crosslink
