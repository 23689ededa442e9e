#include "engine/etcd/notes.hpp"

#include <algorithm>
#include <charconv>
#include <string>
#include <system_error>
#include <utility>

#include "crosslink/entry.hpp"

namespace crosslink::etcd {
namespace {

constexpr std::size_t split_file_bytes_max = std::size_t{1} << 30;
constexpr std::size_t agreement_bytes_max = 32;

}  // namespace

Result<void> Notes::write_split(const Record::Split& split, std::span<const Change> changes,
                                const base::Space& space) const {
  std::vector<Operation> operations;
  for (const auto& change : changes) {
    const auto lease = change.lease != 0 ? std::optional(change.lease) : std::nullopt;
    operations.push_back(change.value ? Operation::put(change.key, *change.value, lease)
                                      : Operation::erase(change.key));
  }
  std::vector<std::byte> bytes(split.list.bytes.begin(), split.list.bytes.end());
  encode_entry(bytes, split.lsn, 0, operations);
  if (auto room = space.need(bytes.size(), "keeping a revision that goes in several transactions"); !room) return room;
  return files_.replace(split_file(), bytes);
}

Result<std::optional<std::vector<Change>>> Notes::read_split(const Record::Split& split) const {
  const auto bytes = files_.read(split_file(), split_file_bytes_max);
  if (!bytes) return bytes.error();
  if (!*bytes || (*bytes)->size() < split.list.bytes.size()) return std::optional<std::vector<Change>>();
  auto rest = std::span<const std::byte>(**bytes);
  const bool same = std::ranges::equal(rest.first(split.list.bytes.size()), split.list.bytes);
  rest = rest.subspan(split.list.bytes.size());
  const auto entry = read_entry(rest);
  if (!same || !entry || entry->lsn() != split.lsn) return std::optional<std::vector<Change>>();
  std::vector<Change> changes;
  entry->for_each([&](const Operation& one) {
    Change change{std::string(one.key), std::nullopt, one.lease.value_or(0)};
    if (one.kind == OperationKind::put) change.value = std::string(one.value);
    changes.push_back(std::move(change));
  });
  return std::optional(std::move(changes));
}

Result<void> Notes::write_agreement(std::int64_t revision) const {
  if (revision > 0) return files_.replace(agreement_file(), std::to_string(revision));
  return files_.remove_durably(agreement_file());
}

Result<std::int64_t> Notes::read_agreement() const {
  const auto text = files_.read_text(agreement_file(), agreement_bytes_max);
  if (!text) return text.error();
  std::int64_t revision = 0;
  const auto read = std::from_chars(text->data(), text->data() + text->size(), revision);
  return read.ec == std::errc() ? revision : 0;  // of a version whose word had no bound
}

}  // namespace crosslink::etcd
