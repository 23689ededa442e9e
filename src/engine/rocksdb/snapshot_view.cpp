#include "engine/rocksdb/snapshot_view.hpp"

#include <rocksdb/wide_columns.h>

#include <string>

namespace crosslink::rocks {

bool has_wide_columns(const rocksdb::Iterator& pairs) {
  const auto& columns = pairs.columns();
  return columns.size() != 1 || columns.front().name() != rocksdb::kDefaultWideColumnName;
}

Result<void> SnapshotView::scan(std::string_view begin, std::optional<std::string_view> end,
                                const std::function<bool(const KeyValue&)>& visit) const {
  const Uncounted uncounted;
  rocksdb::ReadOptions options;
  options.snapshot = snapshot_;
  options.fill_cache = false;
  options.total_order_seek = true;
  rocksdb::Slice upper;
  if (end) {
    upper = rocksdb::Slice(end->data(), end->size());
    options.iterate_upper_bound = &upper;
  }
  const std::unique_ptr<rocksdb::Iterator> pairs(live_->db().NewIterator(options, live_->data()));
  for (pairs->Seek(rocksdb::Slice(begin.data(), begin.size())); pairs->Valid(); pairs->Next()) {
    const auto key = pairs->key();
    auto value = pairs->value();
    std::string columns;
    if (has_wide_columns(*pairs)) {
      for (const auto& column : pairs->columns()) {
        for (const auto& part : {column.name(), column.value()})
          columns += std::to_string(part.size()) + ' ' + part.ToString();
      }
      value = columns;
    }
    if (!visit({{key.data(), key.size()}, {value.data(), value.size()}, std::nullopt})) break;
  }
  if (!pairs->status().ok()) return storage_error("scanning", pairs->status());
  return {};
}

}  // namespace crosslink::rocks
