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

constexpr std::size_t agreement_bytes_max = 16;
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

bool ends_in_separator(std::string_view prefix) {
  if (prefix.empty()) return true;
  const auto last = static_cast<unsigned char>(prefix.back());
  const bool letter = (last >= 'a' && last <= 'z') || (last >= 'A' && last <= 'Z');
  return !letter && !(last >= '0' && last <= '9') && last < 0x80;
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
    const auto slash = key.find(separator, prefix.size());
    auto group = key.substr(0, slash == std::string::npos ? slash : slash + 1);
    from = slash == std::string::npos ? key + '\0' : prefix_end(group);
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
          "the source's keys have no prefix in common: say under which prefix this etcd keeps them"};
}

Result<EtcdSurvey> EtcdDatabase::Impl::survey_at(const std::string& prefix) const {
  EtcdSurvey survey;
  survey.prefix = prefix;
  for (const auto& range : without_reserved(KeySpace{prefix, prefix, {}}.all())) {
    const auto page = count(*client, range, EtcdSurvey::shown_max);
    if (!page) return page.error();
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
  return survey;
}

Result<void> EtcdDatabase::agree_to_deletions(bool agreed) {
  const std::scoped_lock writing(impl_->write_mutex);
  if (!agreed) {
    std::error_code error;
    std::filesystem::remove(impl_->agreement_file(), error);
    return error ? Result<void>(storage_error("removing " + impl_->agreement_file().string() + ": " + error.message()))
                 : Result<void>{};
  }
  return replace_file(impl_->agreement_file(), bytes_of("agreed\n"));
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
Result<void> EtcdDatabase::Impl::check_deletions(std::uint64_t pairs) {
  const bool explained = explains(record);
  if (explained && pairs > 0) return {};
  const auto agreed = read_whole(agreement_file(), agreement_bytes_max);
  if (!agreed) return agreed.error();
  if (*agreed) return {};
  const auto survey = survey_at(keys.prefix);
  if (!survey) return survey.error();
  if (survey->keys == 0) return {};
  const auto there = fmt::format("{} keys, such as {}", survey->keys, listed(survey->shown));
  const auto how = fmt::format("crosslink resync {} --yes, if that is wanted", options.name);
  if (explained) {
    return MirrorError(
        ErrorKind::UnsupportedOperation, CausedBy::peer,
        fmt::format("the source has no key now, and this mirror has {}: all of them would be deleted; is it "
                    "the right source, with the right prefix? {}",
                    there, how));
  }
  return MirrorError(
      ErrorKind::UnsupportedOperation, CausedBy::us,
      fmt::format("there are {}, below \"{}\" in this etcd, and no record of this mirror says that they are its own: "
                  "those that the source does not have would be deleted; {}{}",
                  there, escape(keys.prefix, 200),
                  survey->neighbours.empty()
                      ? std::string()
                      : fmt::format("the prefix ends in no separator, so {} are below it as well; ",
                                    listed(survey->neighbours)),
                  how));
}

}  // namespace crosslink
