// The databases and hosts of one run: a root, two mirrors of it, and a mirror of one of them.
#pragma once

#include <memory>
#include <vector>

#include "sim/mirror_host.hpp"

namespace crosslink::sim {

class Fleet {
 public:
  /// Of random shape; nothing runs yet.
  Fleet(World& world, Oracle& oracle);

  Connection::Weather any_weather();
  /// What the source of this mirror holds.
  const Node* upstream_of(const MirrorHost& mirror);

  std::unique_ptr<Database> root_db, near_db, middle_db, far_db;
  std::unique_ptr<SourceHost> root, middle_source;
  std::unique_ptr<MirrorHost> near, middle, far;
  std::vector<MirrorHost*> mirrors;
  bool synced = false;        ///< the root waits for `near`, and `middle` for `far` once it takes writes
  bool two_copies = false;    ///< of two mirrors both come under the name that the root waits for
  bool small_frames = false;  ///< so that small databases come in many chunks, and small entries in fragments

 private:
  void build_sources();
  void build_mirrors();
  MirrorHost& copy_of(const MirrorIdentity& identity);

  World* world_;
  Oracle* oracle_;
};

}  // namespace crosslink::sim
