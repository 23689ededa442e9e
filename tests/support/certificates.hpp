// A CA and leaf certificates for a test, made by the product's own code.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "crosslink/quic/config.hpp"
#include "support/temporary_folder.hpp"
#include "tls/certificate_authority.hpp"

namespace crosslink::test {

class Certificates {
 public:
  explicit Certificates(const std::vector<std::string>& names) {
    require(tls::make_authority(folder_.path(), false));
    for (const auto& name : names)
      add(name);
  }
  void add(const std::string& name, const std::vector<std::string>& also = {}) {
    require(tls::issue(folder_.path(), name, also, false));
  }
  quic::TlsFiles files(const std::string& name) const {
    return {folder_.path() / "ca.pem", folder_.path() / (name + ".pem"), folder_.path() / (name + ".key")};
  }
  const std::filesystem::path& folder() const { return folder_.path(); }

 private:
  static void require(const Result<void>& done) {
    if (!done) throw std::runtime_error(done.error().message());
  }
  TemporaryFolder folder_;
};

}  // namespace crosslink::test
