#include "engine/etcd/view.hpp"

#include <utility>

namespace crosslink::etcd {
namespace {

class RevisionView final : public DataView {
 public:
  RevisionView(std::shared_ptr<Client> client, KeySpace keys, Lsn lsn, Lsn revision, std::string left_out)
      : client_(std::move(client)),
        keys_(std::move(keys)),
        lsn_(lsn),
        revision_(revision),
        left_out_(std::move(left_out)) {}
  Lsn lsn() const override { return lsn_; }
  Result<void> scan(std::string_view begin, std::optional<std::string_view> end,
                    const std::function<bool(const KeyValue&)>& visit) const override {
    const auto range = keys_.own_range(begin, end);
    if (!range || revision_ == Lsn{0}) return {};
    Pages pages(*client_, *range, static_cast<std::int64_t>(revision_.value));
    for (;;) {
      const auto page = pages.next();
      if (!page) {
        if (page.error().kind() != ErrorKind::LogWindowExceeded) return page.error();
        return storage_error("the revision that is looked at was compacted meanwhile");
      }
      if (!*page) return {};
      for (const auto& kv : (*page)->kvs()) {
        if (!keys_.contains(kv.key())) continue;
        if (!left_out_.empty() && kv.key().ends_with(left_out_)) continue;
        const bool renamed = keys_.prefix != keys_.offered_prefix;
        const auto key = renamed ? keys_.offered(kv.key()) : std::string();
        if (!visit({renamed ? std::string_view(key) : std::string_view(kv.key()), kv.value(), std::nullopt})) return {};
      }
    }
  }

 private:
  std::shared_ptr<Client> client_;
  KeySpace keys_;
  Lsn lsn_, revision_;
  std::string left_out_;
};

}  // namespace

std::shared_ptr<const DataView> make_view(std::shared_ptr<Client> client, KeySpace keys, Lsn lsn, Lsn revision,
                                          std::string left_out) {
  return std::make_shared<const RevisionView>(std::move(client), std::move(keys), lsn, revision, std::move(left_out));
}

}  // namespace crosslink::etcd
